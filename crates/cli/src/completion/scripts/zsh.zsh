#compdef PROGRAM
# Completion of PROGRAM in zsh: source <(PROGRAM completion zsh), or a file _PROGRAM in a directory of $fpath

_PROGRAM() {
    local line value text directive=0 program=${(Q)words[1]}
    local -a asked candidates options
    [[ $program == "~/"* ]] && program=$HOME/${program#"~/"}
    asked=("${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}")
    while IFS= read -r line; do
        if [[ $line == :<-> ]]; then
            directive=${line#:}
            continue
        fi
        value=${line%%$'\t'*}
        text=
        [[ $line == *$'\t'* ]] && text=":${line#*$'\t'}"
        # A colon separates value and description.
        candidates+=("${value//:/\\:}$text")
    done < <("$program" __COMPLETE "${asked[@]}" 2>/dev/null)
    (( directive & 2 )) && options=(-S '')
    if (( directive & 16 )); then
        _files -/
    elif (( $#candidates )); then
        _describe -t PROGRAM PROGRAM candidates "${options[@]}"
    elif (( ! (directive & 4) )); then
        _files
    fi
}

if [[ ${funcstack[1]} == _PROGRAM ]]; then
    _PROGRAM "$@"
else
    compdef _PROGRAM PROGRAM
fi
