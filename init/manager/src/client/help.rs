//! What `systemctl --help` prints.

/// At most 80 columns wide.
pub const HELP: &str = "\
systemctl [OPTION...] COMMAND...

Asks PID 1 about units and tells it what to do.

Units:
  list-units [PATTERN...]             Loaded units (the default command)
  list-sockets|list-timers|list-paths|list-automounts [PATTERN...]
                                      Units that start others
  status [UNIT...]                    State, processes and last log lines
  show [UNIT...]                      Properties of units, or of PID 1
  cat UNIT...                         Unit files and drop-ins
  help UNIT...                        Where the documentation is
  whoami [PID...]                     The unit of a process
  start|stop|restart UNIT...          Start, stop, stop and start
  reload|try-restart UNIT...          Reload; restart only if it runs
  reload-or-restart UNIT...           Reload if possible, else restart
  try-reload-or-restart UNIT...       The same, only if it runs
  isolate UNIT                        Start one unit, stop all others
  kill UNIT...                        Send a signal
  freeze|thaw UNIT...                 Stop all processes where they are
  clean UNIT...                       Remove files of a unit that is down
  set-property UNIT NAME=VALUE...     Change settings of a unit that runs
  reset-failed [UNIT...]              Forget failures
  is-active|is-failed UNIT...         Say so, and by the exit code
  list-dependencies [UNIT...]         What a unit needs

Unit files:
  list-unit-files [PATTERN...]        Files and whether they start at boot
  enable|disable|reenable UNIT...     Start at boot, or not
  preset UNIT..., preset-all          As the preset files say
  mask|unmask UNIT...                 Forbid a unit, allow it again
  link PATH...                        Make a file elsewhere known
  revert UNIT...                      Back to the vendor's version
  add-wants|add-requires TARGET UNIT...
                                      Let a target want or require units
  edit UNIT...                        Edit drop-ins or whole files
  is-enabled UNIT...                  Say so, and by the exit code
  get-default, set-default TARGET     The target of the boot

Jobs:
  list-jobs [PATTERN...]              What is being started or stopped
  cancel [JOB...]                     Take jobs out of the queue

Environment of all services:
  show-environment                    The variables
  set-environment NAME=VALUE...       Set some
  unset-environment NAME...           Take some out
  import-environment [NAME...]        Take them from the caller

System:
  daemon-reload, daemon-reexec        Read files again, execute PID 1 again
  service-watchdogs [BOOL]            End services that fall silent?
  log-level [LEVEL]                   What PID 1 logs
  log-target [TARGET]                 Where it logs
  is-system-running [--wait]          The state of the whole system
  reboot, poweroff, halt, kexec, soft-reboot
  rescue, emergency, default

Options:
  -a --all               List inactive units too; show empty properties
  -t --type=TYPE         Only units of these types; 'help' lists them
     --state=STATE       Only units in these states; 'help' lists them
     --failed            Short for --state=failed
  -p --property=NAME     Only these properties, comma separated
  -P NAME                The same as --value --property=NAME
     --value             Values without names
     --timestamp=STYLE   pretty, us, utc, us+utc or unix
     --reverse, --before, --after
                         list-dependencies: in another direction
     --show-types        list-sockets: the types
  -n --lines=N           Log lines in status (10)
  -o --output=FORMAT     Tables as json or json-pretty
  -s --signal=SIGNAL     Signal of kill (SIGTERM)
     --kill-whom=WHOM    main, control or all
     --what=KIND         clean: runtime, state, cache, logs, configuration,
                         fdstore or all; comma separated
     --job-mode=MODE     fail, replace, isolate...; 'help' lists them
     --fail              Short for --job-mode=fail
     --no-block          Do not wait for the job
     --wait              Wait until started units are over, or the boot
     --dry-run           Only look whether it could be done
     --now               enable: start too; disable, mask: stop too
     --runtime           Links in /run, lost at the next boot
     --preset-mode=MODE  full, enable-only or disable-only
     --root=DIR          Edit the unit files of another root
     --drop-in=NAME, --stdin
                         edit: the file, and where its text comes from
  -f --force             Overwrite links; reboot without stopping units
  -q --quiet             Print less
  -l --full              Do not shorten
     --plain             No dots, no trees
     --no-legend         No heading, no summary
     --no-pager          Accepted: there is no pager
  -h --help, --version
";
