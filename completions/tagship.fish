# Completion for fish. The words come from tagship itself, targets from its configuration.
TAGSHIP_COMPLETE=fish tagship 2>/dev/null | source
