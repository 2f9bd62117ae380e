# Read by interactive shells.

case $- in
    *i*) ;;
    *) return ;;
esac

shopt -s checkwinsize histappend
HISTCONTROL=ignoreboth
HISTSIZE=1000
HISTFILESIZE=2000

# core@host ~ $
case $TERM in
    dumb | vt100 | "")
        PS1='\u@\h \w \$ '
        ;;
    *)
        if [ "$EUID" -eq 0 ]; then
            PS1='\[\e[1;31m\]\u@\h\[\e[0m\] \[\e[1;34m\]\w \$\[\e[0m\] '
        else
            PS1='\[\e[1;32m\]\u@\h\[\e[0m\] \[\e[1;34m\]\w \$\[\e[0m\] '
        fi
        alias ls='ls --color=auto' grep='grep --color=auto' ip='ip -color=auto'
        ;;
esac
alias ll='ls -l'

# Completion of a command is loaded when it is completed for the first time.
_ferrite_load_completion() {
    local file=${FERRITE_COMPLETIONS:-/usr/share/bash-completion/completions}/${1##*/}
    [[ -r $file ]] && . "$file" && complete -p -- "${1##*/}" >/dev/null 2>&1 && return 124
    return 1
}
if [[ -r /usr/share/bash-completion/bash_completion ]]; then
    . /usr/share/bash-completion/bash_completion
else
    complete -D -o bashdefault -o default -F _ferrite_load_completion
fi
