# Completion for bash. The words come from tagship itself, targets from its configuration.
eval "$(TAGSHIP_COMPLETE=bash tagship 2>/dev/null)"
