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
