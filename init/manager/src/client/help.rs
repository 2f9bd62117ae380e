//! What `systemctl --help` prints.

/// At most 80 columns wide.
pub const HELP: &str = "\
systemctl [OPTION...] COMMAND...

Asks PID 1 about units and tells it what to do.

Units:
  list-units [PATTERN...]             Loaded units (the default command)
  status [UNIT...]                    State, processes and last log lines
  show [UNIT...]                      Properties, for scripts
  cat UNIT...                         Unit files and drop-ins
  start|stop|restart UNIT...          Start, stop, stop and start
  reload|try-restart UNIT...          Reload; restart only if it runs
  reload-or-restart UNIT...           Reload if possible, else restart
  try-reload-or-restart UNIT...       The same, only if it runs
  isolate UNIT                        Start one unit, stop all others
  kill UNIT...                        Send a signal
  reset-failed [UNIT...]              Forget failures
  is-active|is-failed UNIT...         Say so, and by the exit code
  list-dependencies [UNIT]            What a unit needs

Unit files:
  list-unit-files [PATTERN...]        Files and whether they start at boot
  enable|disable|reenable UNIT...     Start at boot, or not
  mask|unmask UNIT...                 Forbid a unit, allow it again
  is-enabled UNIT...                  Say so, and by the exit code
  get-default, set-default TARGET     The target of the boot

System:
  list-jobs, daemon-reload, daemon-reexec, is-system-running [--wait]
  reboot, poweroff, halt, rescue, emergency, default

Options:
  -a --all               List inactive units too; show empty properties
  -t --type=TYPE         Only units of these types, comma separated
     --state=STATE       Only units in these states, comma separated
     --failed            Short for --state=failed
  -p --property=NAME     Only these properties, comma separated
     --value             Values without names
  -n --lines=N           Log lines in status (10)
  -s --signal=SIGNAL     Signal of kill (SIGTERM)
     --kill-whom=WHOM    main, control or all
     --job-mode=MODE     fail, replace, isolate...
     --no-block          Do not wait for the job
     --wait              Wait until the boot is over (is-system-running)
     --now               enable: start too; disable, mask: stop too
     --runtime           Links in /run, lost at the next boot
     --root=DIR          Edit the unit files of another root
  -f --force             Overwrite links; reboot without stopping units
  -q --quiet             Print less
  -l --full              Do not shorten
     --plain             No dots, no trees
     --no-legend         No heading, no summary
     --no-pager          Accepted: there is no pager
  -h --help, --version
";
