# Completion of asof for bash: source <(asof completions bash)
_NAME() {
    local line=${COMP_LINE:0:COMP_POINT} words word prefix reply separator=$'\013'
    read -a words <<<"$line"
    [[ $line != *[[:space:]] ]] || words+=('')
    word=${words[-1]}
    COMPREPLY=()
    reply=$(_CLAP_IFS=$separator _CLAP_COMPLETE_INDEX=$((${#words[@]} - 1)) VAR=bash COMPLETER -- "${words[@]}" 2>/dev/null) || return
    [[ $reply ]] || return
    # What stands before the last break of a word is in the line already.
    prefix=${word%"${word##*[$COMP_WORDBREAKS]}"}
    while IFS= read -r -d "$separator" reply; do
        printf -v reply %q "${reply#"$prefix"}"
        COMPREPLY+=("$reply")
    done <<<"$reply$separator"
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[/=:@] ]]; then compopt -o nospace; fi
}
complete -o bashdefault -o nosort -F _NAME BIN
