# Completion of PROGRAM in bash: source <(PROGRAM completion bash)

_PROGRAM_complete() {
    local line=${COMP_LINE:0:COMP_POINT} words=() word i
    # Bash has cut the line at blanks and at the characters of COMP_WORDBREAKS; only blanks separate words here.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if ((i > 0)) && [[ $line != [[:blank:]]* ]] && [[ -n $line || -z $word ]]; then
            ((${#words[@]})) && words[-1]+=${line:0:${#word}}
        else
            line=${line#"${line%%[![:blank:]]*}"}
            words+=("${line:0:${#word}}")
        fi
        line=${line:${#word}}
    done
    local cur=${words[-1]} program=${words[0]} candidates=() candidate directive=0
    [[ $program == "~/"* ]] && program=$HOME/${program#"~/"}
    while IFS= read -r candidate; do
        case $candidate in
            :[0-9]*) directive=${candidate#:} ;;
            *) candidates+=("${candidate%%$'\t'*}") ;;
        esac
    done < <("$program" __completeNoDesc "${words[@]:1:${#words[@]}-2}" "$cur" 2>/dev/null)
    # What stands before the last break is not replaced.
    local kept=
    [[ $cur == *:* && $COMP_WORDBREAKS == *:* ]] && kept=${cur%"${cur##*:}"}
    if [[ $cur == *=* && $COMP_WORDBREAKS == *=* ]]; then
        candidate=${cur%"${cur##*=}"}
        ((${#candidate} > ${#kept})) && kept=$candidate
    fi
    COMPREPLY=()
    for candidate in "${candidates[@]}"; do
        COMPREPLY+=("${candidate#"$kept"}")
    done
    ((directive & 2)) && compopt -o nospace 2>/dev/null
    if ((directive & 16)); then
        mapfile -t COMPREPLY < <(compgen -d -- "$cur")
        compopt -o filenames 2>/dev/null
    elif ((!(directive & 4) && ${#candidates[@]} == 0)); then
        compopt -o bashdefault -o default 2>/dev/null
    fi
    return 0
}

complete -F _PROGRAM_complete PROGRAM
