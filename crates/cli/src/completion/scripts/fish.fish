# Completion of PROGRAM in fish: PROGRAM completion fish | source

function __PROGRAM_complete
    set -l words (commandline -opc)
    set -l cur (commandline -ct)
    set -l program $words[1]
    string match -q '~/*' -- $program; and set program $HOME/(string sub -s 3 -- $program)
    set -l lines ($program __COMPLETE $words[2..-1] "$cur" 2>/dev/null)
    set -l directive 0
    set -l candidates
    for line in $lines
        if string match -qr '^:[0-9]+$' -- $line
            set directive (string sub -s 2 -- $line)
        else
            set -a candidates $line
        end
    end
    if test (math "bitand($directive, 16)") -ne 0
        __fish_complete_directories "$cur"
    else if set -q candidates[1]
        printf '%s\n' $candidates
    else if test (math "bitand($directive, 4)") -eq 0
        __fish_complete_path "$cur"
    end
end

complete -c PROGRAM -f -a '(__PROGRAM_complete)'
