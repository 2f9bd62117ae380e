//! QEMU's command line for a machine. Pure.
//!
//! The guest starts stopped (`-S`): the monitor is connected first, so no event is lost and time starts with the guest.

use std::path::Path;

use crate::accelerator::Accelerator;
use crate::firmware::FirmwareFiles;
use crate::spec::{Cd, CdBus, Disk, DiskBus, DiskFormat, MachineSpec, Nic, Smbios, USB_BUS, UserData};

/// The command line of a machine. `monitor` is a socket that somebody listens on already.
pub(crate) fn arguments(spec: &MachineSpec, firmware: Option<&FirmwareFiles>, monitor: &Path) -> Vec<String> {
    let mut line = Line::default();
    line.add("-S -nodefaults -no-user-config -display none");
    line.pair("-machine", "pc");
    match spec.accelerator {
        Accelerator::Kvm => line.add("-accel kvm -cpu host"),
        // With a thread a processor, code that the kernel patches while it runs is now and then seen half done (an
        // Oops with `int3` in early boot).
        Accelerator::Tcg => line.add("-accel tcg,thread=single -cpu max"),
    }
    line.pair("-smp", &spec.cpus.to_string());
    line.pair("-m", &spec.memory_mib.to_string());
    if let Some(files) = firmware {
        line.pair("-drive", &format!("if=pflash,format=raw,unit=0,readonly=on,file={}", path(&files.code)));
        line.pair("-drive", &format!("if=pflash,format=raw,unit=1,file={}", path(&files.variables)));
    }
    line.add("-chardev stdio,id=console,signal=off -device isa-serial,chardev=console");
    line.pair("-chardev", &format!("socket,id=monitor,path={}", path(monitor)));
    line.add("-mon chardev=monitor,mode=control -device virtio-rng-pci");
    for (index, disk) in spec.disks.iter().enumerate() {
        disk_arguments(&mut line, disk, index);
    }
    for (index, cd) in spec.cds.iter().enumerate() {
        cd_arguments(&mut line, cd, index);
    }
    network_arguments(&mut line, spec);
    match &spec.user_data {
        UserData::None => {}
        UserData::FwCfg(file) => line.pair("-fw_cfg", &format!("name=opt/org.ferrite/user-data,file={}", path(file))),
        UserData::FwCfgFiles(files) => {
            for file in files {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                line.pair("-fw_cfg", &format!("name=opt/org.ferrite/{name},file={}", path(file)));
            }
        }
        UserData::Cidata(folder) => seed_disk(&mut line, "cidata", folder),
        UserData::ConfigDrive(folder) => seed_disk(&mut line, "config-2", folder),
        UserData::SharedConfigDrive(folder) => {
            let options = "mount_tag=config-2,security_model=none,readonly=on";
            line.pair("-virtfs", &format!("local,path={},{options}", path(folder)));
        }
    }
    smbios_arguments(&mut line, &spec.smbios);
    if let Some(words) = &spec.kernel_words {
        // The name that systemd's stub reads on UEFI; our grub.cfg reads it on BIOS.
        let escaped = words.replace(',', ",,");
        line.pair("-smbios", &format!("type=11,value=io.systemd.stub.kernel-cmdline-extra={escaped}"));
    }
    if let Some(direct) = &spec.kernel {
        line.pair("-kernel", &path(&direct.kernel));
        line.pair("-initrd", &path(&direct.initrd));
        line.pair("-append", &direct.command_line);
    }
    if let Some(memory) = &spec.memory {
        line.pair("-incoming", &format!("exec:cat '{}'", memory.display()));
    }
    if spec.usb {
        line.pair("-device", &format!("qemu-xhci,id={USB_BUS},addr=0x1c"));
    }
    if spec.watchdog {
        line.add("-device i6300esb -action watchdog=reset");
    }
    line.words
}

fn disk_arguments(line: &mut Line, disk: &Disk, index: usize) {
    let id = format!("disk{index}");
    let format = match disk.format {
        DiskFormat::Raw => "raw",
        DiskFormat::Qcow2 => "qcow2",
    };
    let snapshot = if disk.ephemeral { ",snapshot=on" } else { "" };
    let source = match &disk.write_log {
        None => format!("format={format},file={}{snapshot}", path(&disk.file)),
        Some(log) => format!(
            "driver=blklogwrites,log.driver=file,log.filename={},\
             file.driver={format},file.file.driver=file,file.file.filename={}",
            path(log),
            path(&disk.file)
        ),
    };
    line.pair("-drive", &format!("if=none,id={id},cache=writeback,discard=unmap,{source}"));
    let boot = format!("drive={id},bootindex={}", index + 1);
    match disk.bus {
        DiskBus::VirtioBlk => line.pair("-device", &format!("virtio-blk-pci,{boot}")),
        DiskBus::VirtioScsi => {
            line.pair("-device", &format!("virtio-scsi-pci,id=scsi{index}"));
            line.pair("-device", &format!("scsi-hd,bus=scsi{index}.0,{boot}"));
        }
        DiskBus::Nvme => line.pair("-device", &format!("nvme,serial=ferrite{index},{boot}")),
        DiskBus::Ahci => {
            line.pair("-device", &format!("ich9-ahci,id=ahci{index}"));
            line.pair("-device", &format!("ide-hd,bus=ahci{index}.0,{boot}"));
        }
        DiskBus::Usb => {
            line.pair("-device", &format!("qemu-xhci,id=usb{index}"));
            line.pair("-device", &format!("usb-storage,bus=usb{index}.0,{boot}"));
        }
    }
}

fn cd_arguments(line: &mut Line, cd: &Cd, index: usize) {
    let id = format!("cd{index}");
    // What is no drive has no medium.
    let media = if cd.bus == CdBus::VirtioBlk { "" } else { ",media=cdrom" };
    line.pair("-drive", &format!("if=none,id={id},readonly=on,format=raw{media},file={}", path(&cd.file)));
    match cd.bus {
        CdBus::Ide => line.pair("-device", &format!("ide-cd,bus=ide.1,drive={id}")),
        CdBus::Ahci => {
            line.pair("-device", &format!("ich9-ahci,id={id}-ahci"));
            line.pair("-device", &format!("ide-cd,bus={id}-ahci.0,drive={id}"));
        }
        CdBus::VirtioScsi => {
            line.pair("-device", &format!("virtio-scsi-pci,id={id}-scsi"));
            line.pair("-device", &format!("scsi-cd,bus={id}-scsi.0,drive={id}"));
        }
        CdBus::Usb => {
            line.pair("-device", &format!("qemu-xhci,id={id}-usb"));
            line.pair("-device", &format!("usb-storage,bus={id}-usb.0,drive={id}"));
        }
        CdBus::VirtioBlk => line.pair("-device", &format!("virtio-blk-pci,drive={id}")),
    }
}

fn network_arguments(line: &mut Line, spec: &MachineSpec) {
    let guest = spec.metadata.and_then(|metadata| metadata.guest).map(|guest| guest.to_string()).unwrap_or_default();
    let forward = match spec.ssh_port {
        Some(port) => format!(",hostfwd=tcp:127.0.0.1:{port}-{guest}:22"),
        None => String::new(),
    };
    let service = spec.metadata.map(|metadata| metadata_service(metadata.port)).unwrap_or_default();
    line.pair("-netdev", &format!("user,id=net0{service}{forward}"));
    // No boot ROM: the firmware would spend seconds on network boot.
    let mac = spec.mac.as_ref().map(|mac| format!(",mac={mac}")).unwrap_or_default();
    match spec.nic {
        Nic::VirtioNet => line.pair("-device", &format!("virtio-net-pci,netdev=net0,romfile={mac}")),
        Nic::E1000e => line.pair("-device", &format!("e1000e,netdev=net0,romfile={mac}")),
    }
}

/// A folder as a FAT disk.
fn seed_disk(line: &mut Line, label: &str, folder: &Path) {
    let folder = path(folder);
    line.pair("-drive", &format!("if=none,id=seed,read-only=on,driver=vvfat,label={label},dir={folder}"));
    line.add("-device virtio-blk-pci,drive=seed");
}

/// The user network has no place for an address outside of it, so the network is one that holds both. QEMU starts the
/// command for each connection; bash carries the bytes, because it is on every build host.
fn metadata_service(port: u16) -> String {
    let carrier = format!("bash -c \"exec 3<>/dev/tcp/127.0.0.1/{port}; cat <&3 & cat >&3; wait\"");
    format!(
        ",net=160.0.0.0/4,host=172.16.0.1,dns=172.16.0.3,dhcpstart=172.16.0.15,\
         guestfwd=tcp:169.254.169.254:80-cmd:{carrier}"
    )
}

fn smbios_arguments(line: &mut Line, smbios: &Smbios) {
    let fields = [
        ("manufacturer", &smbios.manufacturer),
        ("product", &smbios.product),
        ("serial", &smbios.serial),
        ("uuid", &smbios.uuid),
    ];
    let known =
        fields.iter().filter_map(|(name, value)| Some(format!(",{name}={}", value.as_ref()?.replace(',', ",,"))));
    let values: String = known.collect();
    if !values.is_empty() {
        line.pair("-smbios", &format!("type=1{values}"));
    }
}

/// A comma separates options for QEMU; a doubled one is a comma of the name.
fn path(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

#[derive(Default)]
struct Line {
    words: Vec<String>,
}

impl Line {
    fn add(&mut self, words: &str) {
        self.words.extend(words.split(' ').map(String::from));
    }

    fn pair(&mut self, option: &str, value: &str) {
        self.words.push(option.into());
        self.words.push(value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Firmware;

    fn line(spec: &MachineSpec) -> String {
        arguments(spec, None, Path::new("/run/q")).join(" ")
    }

    #[test]
    fn the_usual_machine_is_a_virtio_machine_without_a_display() {
        let mut spec = MachineSpec::new(Disk::new("/d.raw"));
        spec.ssh_port = Some(2222);
        let text = line(&spec);
        assert!(text.contains("format=raw,file=/d.raw"), "{text}");
        assert!(text.contains("virtio-blk-pci,drive=disk0,bootindex=1"), "{text}");
        assert!(text.contains("user,id=net0,hostfwd=tcp:127.0.0.1:2222-:22"), "{text}");
        assert!(!text.contains("i6300esb"), "{text}");
    }

    #[test]
    fn every_bus_boots_the_first_disk_first() {
        for (bus, device) in [
            (DiskBus::VirtioScsi, "scsi-hd,bus=scsi0.0,"),
            (DiskBus::Nvme, "nvme,serial=ferrite0,"),
            (DiskBus::Ahci, "ide-hd,bus=ahci0.0,"),
            (DiskBus::Usb, "usb-storage,bus=usb0.0,"),
        ] {
            let text = line(&MachineSpec::new(Disk::new("/d.raw").on(bus)));
            assert!(text.contains(&format!("{device}drive=disk0,bootindex=1")), "{text}");
        }
    }

    #[test]
    fn an_optical_drive_hangs_on_every_bus_and_cannot_be_written() {
        for (bus, device) in [
            (CdBus::Ide, "ide-cd,bus=ide.1,"),
            (CdBus::Ahci, "ide-cd,bus=cd0-ahci.0,"),
            (CdBus::VirtioScsi, "scsi-cd,bus=cd0-scsi.0,"),
            (CdBus::Usb, "usb-storage,bus=cd0-usb.0,"),
        ] {
            let mut spec = MachineSpec::new(Disk::new("/d.raw"));
            spec.cds.push(Cd { file: "/seed.iso".into(), bus });
            let text = line(&spec);
            assert!(text.contains(&format!("{device}drive=cd0")), "{text}");
            assert!(text.contains("readonly=on,format=raw,media=cdrom,file=/seed.iso"), "{text}");
        }
    }

    #[test]
    fn a_comma_in_a_path_does_not_end_the_option() {
        assert!(line(&MachineSpec::new(Disk::new("/a,b.raw"))).contains("file=/a,,b.raw"));
    }

    #[test]
    fn a_machine_of_a_cloud_has_its_firmware_and_its_service() {
        let mut spec = MachineSpec::new(Disk::new("/d.raw"));
        spec.ssh_port = Some(2222);
        spec.smbios = crate::metadata::CloudKind::DigitalOcean.smbios();
        spec.metadata = Some(crate::spec::Metadata { port: 8080, guest: Some([172, 16, 5, 20].into()) });
        let text = line(&spec);
        assert!(text.contains("type=1,manufacturer=DigitalOcean,product=Droplet,serial=2756294"), "{text}");
        assert!(
            text.contains("net=160.0.0.0/4") && text.contains("guestfwd=tcp:169.254.169.254:80-cmd:bash"),
            "{text}"
        );
        assert!(text.contains("hostfwd=tcp:127.0.0.1:2222-172.16.5.20:22"), "{text}");
    }

    #[test]
    fn firmware_files_become_two_flash_drives() {
        let mut spec = MachineSpec::new(Disk::new("/d.qcow2"));
        spec.firmware = Firmware::Uefi;
        let files = FirmwareFiles { code: "/c.fd".into(), variables: "/v.fd".into() };
        let text = arguments(&spec, Some(&files), Path::new("/run/q")).join(" ");
        assert!(text.contains("unit=0,readonly=on,file=/c.fd") && text.contains("unit=1,file=/v.fd"), "{text}");
        assert!(text.contains("format=qcow2,file=/d.qcow2"), "{text}");
    }
}
