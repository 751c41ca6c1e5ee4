# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_tagship_global_optspecs
    string join \n config= state= v/verbose q/quiet color= h/help V/version
end

function __fish_tagship_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_tagship_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_tagship_using_subcommand
    set -l cmd (__fish_tagship_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c tagship -n "__fish_tagship_needs_command" -l config -d 'The configuration file [default: config.toml in $CONFIGURATION_DIRECTORY, ~/.config/tagship or /etc/tagship]' -r -F
complete -c tagship -n "__fish_tagship_needs_command" -l state -d 'The state file, whatever the configuration says' -r -F
complete -c tagship -n "__fish_tagship_needs_command" -l color -d 'Colour in the output' -r -f -a "auto\t'On a terminal, unless NO_COLOR or TERM=dumb says otherwise'
always\t''
never\t''"
complete -c tagship -n "__fish_tagship_needs_command" -s v -l verbose -d 'Say also what did not change, and show what deployments print'
complete -c tagship -n "__fish_tagship_needs_command" -s q -l quiet -d 'Say only what failed'
complete -c tagship -n "__fish_tagship_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tagship -n "__fish_tagship_needs_command" -s V -l version -d 'Print version'
complete -c tagship -n "__fish_tagship_needs_command" -f -a "poll" -d 'Ask the registries, decide, and deploy what is new'
complete -c tagship -n "__fish_tagship_needs_command" -f -a "status" -d 'Show what each target has: newest, deployed, pending, last check, last error'
complete -c tagship -n "__fish_tagship_needs_command" -f -a "tags" -d 'Show every tag of a target, and why it was taken or not'
complete -c tagship -n "__fish_tagship_needs_command" -f -a "deploy" -d 'Deploy now, by hand: the newest tag, or one that is named'
complete -c tagship -n "__fish_tagship_needs_command" -f -a "mark" -d 'Record that something else deployed a tag'
complete -c tagship -n "__fish_tagship_needs_command" -f -a "history" -d 'Show what was deployed, and how it went'
complete -c tagship -n "__fish_tagship_needs_command" -f -a "retry" -d 'Make deployments that failed due again'
complete -c tagship -n "__fish_tagship_needs_command" -f -a "hold" -d 'Stop automatic deployments to targets'
complete -c tagship -n "__fish_tagship_needs_command" -f -a "release" -d 'Let automatic deployments to targets go on'
complete -c tagship -n "__fish_tagship_needs_command" -f -a "check" -d 'Validate the configuration'
complete -c tagship -n "__fish_tagship_needs_command" -f -a "login" -d 'Put a registry\'s token into the keyring'
complete -c tagship -n "__fish_tagship_needs_command" -f -a "logout" -d 'Take a registry\'s token out of the keyring'
complete -c tagship -n "__fish_tagship_needs_command" -f -a "init" -d 'Write a configuration to begin with'
complete -c tagship -n "__fish_tagship_needs_command" -f -a "schedule" -d 'Print what starts a run again and again'
complete -c tagship -n "__fish_tagship_needs_command" -f -a "generate" -d 'Write what packagers and editors need'
complete -c tagship -n "__fish_tagship_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tagship -n "__fish_tagship_using_subcommand poll" -l project -d 'Only stages of this project' -r
complete -c tagship -n "__fish_tagship_using_subcommand poll" -l stage -d 'Only stages of this name' -r
complete -c tagship -n "__fish_tagship_using_subcommand poll" -l format -d 'How the outcome is printed' -r -f -a "human\t'A line for each target with news'
json\t'One document for the run'
jsonl\t'A line of JSON for each target as it is done, then the summary'
github\t'Annotations, outputs and a summary for GitHub Actions and Gitea Actions'"
complete -c tagship -n "__fish_tagship_using_subcommand poll" -l shard -d 'Only the images of shard I of N, from 0 to N-1; N alone takes I from $JOB_COMPLETION_INDEX. Each shard has a state file of its own' -r
complete -c tagship -n "__fish_tagship_using_subcommand poll" -l max-runtime -d 'Start nothing more after this long [default: max_runtime of the configuration]' -r
complete -c tagship -n "__fish_tagship_using_subcommand poll" -l config -d 'The configuration file [default: config.toml in $CONFIGURATION_DIRECTORY, ~/.config/tagship or /etc/tagship]' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand poll" -l state -d 'The state file, whatever the configuration says' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand poll" -l color -d 'Colour in the output' -r -f -a "auto\t'On a terminal, unless NO_COLOR or TERM=dumb says otherwise'
always\t''
never\t''"
complete -c tagship -n "__fish_tagship_using_subcommand poll" -l due -d 'Only targets polled longer ago than 90 % of their interval, or with a deployment to try again'
complete -c tagship -n "__fish_tagship_using_subcommand poll" -l dry-run -d 'Say what would be deployed; write and deploy nothing'
complete -c tagship -n "__fish_tagship_using_subcommand poll" -l refresh -d 'List every repository in full, also where the registry says that nothing was pushed'
complete -c tagship -n "__fish_tagship_using_subcommand poll" -l exit-code -d 'Exit with 3 where something new was found or deployed, and nothing failed'
complete -c tagship -n "__fish_tagship_using_subcommand poll" -l strict -d 'Exit with 75 where a selected target is being deployed by another run'
complete -c tagship -n "__fish_tagship_using_subcommand poll" -s v -l verbose -d 'Say also what did not change, and show what deployments print'
complete -c tagship -n "__fish_tagship_using_subcommand poll" -s q -l quiet -d 'Say only what failed'
complete -c tagship -n "__fish_tagship_using_subcommand poll" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tagship -n "__fish_tagship_using_subcommand status" -l format -d 'How it is printed' -r -f -a "human\t'A table'
json\t'One document'
html\t'A page that needs nothing but itself: what fails, what waits, all targets, recent deployments'"
complete -c tagship -n "__fish_tagship_using_subcommand status" -l config -d 'The configuration file [default: config.toml in $CONFIGURATION_DIRECTORY, ~/.config/tagship or /etc/tagship]' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand status" -l state -d 'The state file, whatever the configuration says' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand status" -l color -d 'Colour in the output' -r -f -a "auto\t'On a terminal, unless NO_COLOR or TERM=dumb says otherwise'
always\t''
never\t''"
complete -c tagship -n "__fish_tagship_using_subcommand status" -l exit-code -d 'Exit with 1 where the last check or deployment of a target failed'
complete -c tagship -n "__fish_tagship_using_subcommand status" -s v -l verbose -d 'Say also what did not change, and show what deployments print'
complete -c tagship -n "__fish_tagship_using_subcommand status" -s q -l quiet -d 'Say only what failed'
complete -c tagship -n "__fish_tagship_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tagship -n "__fish_tagship_using_subcommand tags" -l format -d 'How it is printed' -r -f -a "human\t'A table'
json\t'One document'"
complete -c tagship -n "__fish_tagship_using_subcommand tags" -l config -d 'The configuration file [default: config.toml in $CONFIGURATION_DIRECTORY, ~/.config/tagship or /etc/tagship]' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand tags" -l state -d 'The state file, whatever the configuration says' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand tags" -l color -d 'Colour in the output' -r -f -a "auto\t'On a terminal, unless NO_COLOR or TERM=dumb says otherwise'
always\t''
never\t''"
complete -c tagship -n "__fish_tagship_using_subcommand tags" -l offline -d 'Only what the state knows; nobody is asked'
complete -c tagship -n "__fish_tagship_using_subcommand tags" -l all -d 'Every tag, not only a screenful'
complete -c tagship -n "__fish_tagship_using_subcommand tags" -s v -l verbose -d 'Say also what did not change, and show what deployments print'
complete -c tagship -n "__fish_tagship_using_subcommand tags" -s q -l quiet -d 'Say only what failed'
complete -c tagship -n "__fish_tagship_using_subcommand tags" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tagship -n "__fish_tagship_using_subcommand deploy" -l config -d 'The configuration file [default: config.toml in $CONFIGURATION_DIRECTORY, ~/.config/tagship or /etc/tagship]' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand deploy" -l state -d 'The state file, whatever the configuration says' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand deploy" -l color -d 'Colour in the output' -r -f -a "auto\t'On a terminal, unless NO_COLOR or TERM=dumb says otherwise'
always\t''
never\t''"
complete -c tagship -n "__fish_tagship_using_subcommand deploy" -l previous -d 'What the stage ran before what it runs now'
complete -c tagship -n "__fish_tagship_using_subcommand deploy" -l no-hold -d 'Do not hold the target when going back'
complete -c tagship -n "__fish_tagship_using_subcommand deploy" -l wait -d 'Wait where another run is deploying to the target, instead of ending with 75'
complete -c tagship -n "__fish_tagship_using_subcommand deploy" -l force -d 'Deploy TAG although the registry cannot be asked whether it exists'
complete -c tagship -n "__fish_tagship_using_subcommand deploy" -s v -l verbose -d 'Say also what did not change, and show what deployments print'
complete -c tagship -n "__fish_tagship_using_subcommand deploy" -s q -l quiet -d 'Say only what failed'
complete -c tagship -n "__fish_tagship_using_subcommand deploy" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tagship -n "__fish_tagship_using_subcommand mark" -l config -d 'The configuration file [default: config.toml in $CONFIGURATION_DIRECTORY, ~/.config/tagship or /etc/tagship]' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand mark" -l state -d 'The state file, whatever the configuration says' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand mark" -l color -d 'Colour in the output' -r -f -a "auto\t'On a terminal, unless NO_COLOR or TERM=dumb says otherwise'
always\t''
never\t''"
complete -c tagship -n "__fish_tagship_using_subcommand mark" -l reset -d 'From here on deploy what is newer than TAG, even what was deployed before'
complete -c tagship -n "__fish_tagship_using_subcommand mark" -l none -d 'Forget which tags the stage was given: the next poll deploys the newest'
complete -c tagship -n "__fish_tagship_using_subcommand mark" -s v -l verbose -d 'Say also what did not change, and show what deployments print'
complete -c tagship -n "__fish_tagship_using_subcommand mark" -s q -l quiet -d 'Say only what failed'
complete -c tagship -n "__fish_tagship_using_subcommand mark" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tagship -n "__fish_tagship_using_subcommand history" -l format -d 'How it is printed' -r -f -a "human\t'A table'
json\t'One document'"
complete -c tagship -n "__fish_tagship_using_subcommand history" -l limit -d 'At most so many deployments [default: 20; with json all]' -r
complete -c tagship -n "__fish_tagship_using_subcommand history" -l tag -d 'Only of this tag' -r
complete -c tagship -n "__fish_tagship_using_subcommand history" -l id -d 'Only the deployment whose id begins so, with all that it printed' -r
complete -c tagship -n "__fish_tagship_using_subcommand history" -l since -d 'Only deployments that were decided on or after this' -r
complete -c tagship -n "__fish_tagship_using_subcommand history" -l until -d 'Only deployments that were decided before this, or on this day' -r
complete -c tagship -n "__fish_tagship_using_subcommand history" -l at -d 'What each target ran then, instead: at that moment, or on that day' -r
complete -c tagship -n "__fish_tagship_using_subcommand history" -l config -d 'The configuration file [default: config.toml in $CONFIGURATION_DIRECTORY, ~/.config/tagship or /etc/tagship]' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand history" -l state -d 'The state file, whatever the configuration says' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand history" -l color -d 'Colour in the output' -r -f -a "auto\t'On a terminal, unless NO_COLOR or TERM=dumb says otherwise'
always\t''
never\t''"
complete -c tagship -n "__fish_tagship_using_subcommand history" -l failed -d 'Only deployments of which an attempt failed'
complete -c tagship -n "__fish_tagship_using_subcommand history" -s v -l verbose -d 'Say also what did not change, and show what deployments print'
complete -c tagship -n "__fish_tagship_using_subcommand history" -s q -l quiet -d 'Say only what failed'
complete -c tagship -n "__fish_tagship_using_subcommand history" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tagship -n "__fish_tagship_using_subcommand retry" -l config -d 'The configuration file [default: config.toml in $CONFIGURATION_DIRECTORY, ~/.config/tagship or /etc/tagship]' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand retry" -l state -d 'The state file, whatever the configuration says' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand retry" -l color -d 'Colour in the output' -r -f -a "auto\t'On a terminal, unless NO_COLOR or TERM=dumb says otherwise'
always\t''
never\t''"
complete -c tagship -n "__fish_tagship_using_subcommand retry" -l drop -d 'Forget the deployment: only something newer is deployed'
complete -c tagship -n "__fish_tagship_using_subcommand retry" -s v -l verbose -d 'Say also what did not change, and show what deployments print'
complete -c tagship -n "__fish_tagship_using_subcommand retry" -s q -l quiet -d 'Say only what failed'
complete -c tagship -n "__fish_tagship_using_subcommand retry" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tagship -n "__fish_tagship_using_subcommand hold" -l reason -d 'Why; shown by poll and status' -r
complete -c tagship -n "__fish_tagship_using_subcommand hold" -l for -d 'End by itself after this long [default: until tagship release]' -r
complete -c tagship -n "__fish_tagship_using_subcommand hold" -l config -d 'The configuration file [default: config.toml in $CONFIGURATION_DIRECTORY, ~/.config/tagship or /etc/tagship]' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand hold" -l state -d 'The state file, whatever the configuration says' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand hold" -l color -d 'Colour in the output' -r -f -a "auto\t'On a terminal, unless NO_COLOR or TERM=dumb says otherwise'
always\t''
never\t''"
complete -c tagship -n "__fish_tagship_using_subcommand hold" -s v -l verbose -d 'Say also what did not change, and show what deployments print'
complete -c tagship -n "__fish_tagship_using_subcommand hold" -s q -l quiet -d 'Say only what failed'
complete -c tagship -n "__fish_tagship_using_subcommand hold" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tagship -n "__fish_tagship_using_subcommand release" -l config -d 'The configuration file [default: config.toml in $CONFIGURATION_DIRECTORY, ~/.config/tagship or /etc/tagship]' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand release" -l state -d 'The state file, whatever the configuration says' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand release" -l color -d 'Colour in the output' -r -f -a "auto\t'On a terminal, unless NO_COLOR or TERM=dumb says otherwise'
always\t''
never\t''"
complete -c tagship -n "__fish_tagship_using_subcommand release" -s v -l verbose -d 'Say also what did not change, and show what deployments print'
complete -c tagship -n "__fish_tagship_using_subcommand release" -s q -l quiet -d 'Say only what failed'
complete -c tagship -n "__fish_tagship_using_subcommand release" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tagship -n "__fish_tagship_using_subcommand check" -l config -d 'The configuration file [default: config.toml in $CONFIGURATION_DIRECTORY, ~/.config/tagship or /etc/tagship]' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand check" -l state -d 'The state file, whatever the configuration says' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand check" -l color -d 'Colour in the output' -r -f -a "auto\t'On a terminal, unless NO_COLOR or TERM=dumb says otherwise'
always\t''
never\t''"
complete -c tagship -n "__fish_tagship_using_subcommand check" -l online -d 'Also try the registries, the repositories and the commands; exit with 1 where one fails'
complete -c tagship -n "__fish_tagship_using_subcommand check" -s v -l verbose -d 'Say also what did not change, and show what deployments print'
complete -c tagship -n "__fish_tagship_using_subcommand check" -s q -l quiet -d 'Say only what failed'
complete -c tagship -n "__fish_tagship_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tagship -n "__fish_tagship_using_subcommand login" -l username -d 'The user name beside the token, where the registry wants one [default: username of the configuration]' -r
complete -c tagship -n "__fish_tagship_using_subcommand login" -l config -d 'The configuration file [default: config.toml in $CONFIGURATION_DIRECTORY, ~/.config/tagship or /etc/tagship]' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand login" -l state -d 'The state file, whatever the configuration says' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand login" -l color -d 'Colour in the output' -r -f -a "auto\t'On a terminal, unless NO_COLOR or TERM=dumb says otherwise'
always\t''
never\t''"
complete -c tagship -n "__fish_tagship_using_subcommand login" -l stdin -d 'Read the token from standard input'
complete -c tagship -n "__fish_tagship_using_subcommand login" -s v -l verbose -d 'Say also what did not change, and show what deployments print'
complete -c tagship -n "__fish_tagship_using_subcommand login" -s q -l quiet -d 'Say only what failed'
complete -c tagship -n "__fish_tagship_using_subcommand login" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tagship -n "__fish_tagship_using_subcommand logout" -l config -d 'The configuration file [default: config.toml in $CONFIGURATION_DIRECTORY, ~/.config/tagship or /etc/tagship]' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand logout" -l state -d 'The state file, whatever the configuration says' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand logout" -l color -d 'Colour in the output' -r -f -a "auto\t'On a terminal, unless NO_COLOR or TERM=dumb says otherwise'
always\t''
never\t''"
complete -c tagship -n "__fish_tagship_using_subcommand logout" -s v -l verbose -d 'Say also what did not change, and show what deployments print'
complete -c tagship -n "__fish_tagship_using_subcommand logout" -s q -l quiet -d 'Say only what failed'
complete -c tagship -n "__fish_tagship_using_subcommand logout" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tagship -n "__fish_tagship_using_subcommand init" -l registry -d 'The registry: its address, or the folder of an image layout' -r
complete -c tagship -n "__fish_tagship_using_subcommand init" -l from -d 'A registry that is asked for images and tags; without --owner and --image its path ends with the owner' -r
complete -c tagship -n "__fish_tagship_using_subcommand init" -l owner -d 'With --from: whose images' -r
complete -c tagship -n "__fish_tagship_using_subcommand init" -l kind -d 'What the registry is [default: by its host, else gitea]' -r -f -a "gitea\t'Gitea, or Forgejo'
forgejo\t''
github\t'The GitHub Container Registry'
dockerhub\t''
gitlab\t''
oci\t'Any other registry'
oci-layout\t'An OCI image layout in a folder'"
complete -c tagship -n "__fish_tagship_using_subcommand init" -l image -d 'An image on it, without host and tag: acme/shop. Can be given several times' -r
complete -c tagship -n "__fish_tagship_using_subcommand init" -l stage -d 'A stage and which tags it takes: dev=\'dev-*\'. Can be given several times' -r
complete -c tagship -n "__fish_tagship_using_subcommand init" -l order -d 'How a stage\'s tags are ordered: dev=numeric, or numeric for all [default: guessed from the glob]' -r
complete -c tagship -n "__fish_tagship_using_subcommand init" -l deploy-command -d 'What deploys: a program and its arguments, without a shell; ./ is the configuration\'s folder' -r
complete -c tagship -n "__fish_tagship_using_subcommand init" -l deploy-url -d 'What deploys: an address that gets a POST' -r
complete -c tagship -n "__fish_tagship_using_subcommand init" -l token-file -d 'The registry\'s token is in this file' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand init" -l token-env -d 'The registry\'s token is in this variable' -r
complete -c tagship -n "__fish_tagship_using_subcommand init" -l token-credential -d 'The registry\'s token is this credential of systemd' -r
complete -c tagship -n "__fish_tagship_using_subcommand init" -l username -d 'The user name beside the token, where the registry wants one' -r
complete -c tagship -n "__fish_tagship_using_subcommand init" -l output -d 'The file to write, or - for standard output [default: --config, ~/.config/tagship/config.toml, or as root /etc/tagship/config.toml]' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand init" -l config -d 'The configuration file [default: config.toml in $CONFIGURATION_DIRECTORY, ~/.config/tagship or /etc/tagship]' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand init" -l state -d 'The state file, whatever the configuration says' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand init" -l color -d 'Colour in the output' -r -f -a "auto\t'On a terminal, unless NO_COLOR or TERM=dumb says otherwise'
always\t''
never\t''"
complete -c tagship -n "__fish_tagship_using_subcommand init" -l anonymous -d 'The registry is asked without a token'
complete -c tagship -n "__fish_tagship_using_subcommand init" -l insecure-http -d 'The registry\'s address may be http://: tokens go over the wire in the clear'
complete -c tagship -n "__fish_tagship_using_subcommand init" -s v -l verbose -d 'Say also what did not change, and show what deployments print'
complete -c tagship -n "__fish_tagship_using_subcommand init" -s q -l quiet -d 'Say only what failed'
complete -c tagship -n "__fish_tagship_using_subcommand init" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and not __fish_seen_subcommand_from cron systemd kubernetes gitea-actions help" -l config -d 'The configuration file [default: config.toml in $CONFIGURATION_DIRECTORY, ~/.config/tagship or /etc/tagship]' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and not __fish_seen_subcommand_from cron systemd kubernetes gitea-actions help" -l state -d 'The state file, whatever the configuration says' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and not __fish_seen_subcommand_from cron systemd kubernetes gitea-actions help" -l color -d 'Colour in the output' -r -f -a "auto\t'On a terminal, unless NO_COLOR or TERM=dumb says otherwise'
always\t''
never\t''"
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and not __fish_seen_subcommand_from cron systemd kubernetes gitea-actions help" -s v -l verbose -d 'Say also what did not change, and show what deployments print'
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and not __fish_seen_subcommand_from cron systemd kubernetes gitea-actions help" -s q -l quiet -d 'Say only what failed'
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and not __fish_seen_subcommand_from cron systemd kubernetes gitea-actions help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and not __fish_seen_subcommand_from cron systemd kubernetes gitea-actions help" -f -a "cron" -d 'A line for a crontab'
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and not __fish_seen_subcommand_from cron systemd kubernetes gitea-actions help" -f -a "systemd" -d 'A service and a timer'
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and not __fish_seen_subcommand_from cron systemd kubernetes gitea-actions help" -f -a "kubernetes" -d 'A CronJob with its configuration and a volume for its state'
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and not __fish_seen_subcommand_from cron systemd kubernetes gitea-actions help" -f -a "gitea-actions" -d 'A workflow of Gitea or Forgejo Actions'
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and not __fish_seen_subcommand_from cron systemd kubernetes gitea-actions help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and __fish_seen_subcommand_from cron" -l config -d 'The configuration file [default: config.toml in $CONFIGURATION_DIRECTORY, ~/.config/tagship or /etc/tagship]' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and __fish_seen_subcommand_from cron" -l state -d 'The state file, whatever the configuration says' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and __fish_seen_subcommand_from cron" -l color -d 'Colour in the output' -r -f -a "auto\t'On a terminal, unless NO_COLOR or TERM=dumb says otherwise'
always\t''
never\t''"
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and __fish_seen_subcommand_from cron" -s v -l verbose -d 'Say also what did not change, and show what deployments print'
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and __fish_seen_subcommand_from cron" -s q -l quiet -d 'Say only what failed'
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and __fish_seen_subcommand_from cron" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and __fish_seen_subcommand_from systemd" -l dir -d 'Write the two units into this folder, where there are none of their names' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and __fish_seen_subcommand_from systemd" -l config -d 'The configuration file [default: config.toml in $CONFIGURATION_DIRECTORY, ~/.config/tagship or /etc/tagship]' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and __fish_seen_subcommand_from systemd" -l state -d 'The state file, whatever the configuration says' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and __fish_seen_subcommand_from systemd" -l color -d 'Colour in the output' -r -f -a "auto\t'On a terminal, unless NO_COLOR or TERM=dumb says otherwise'
always\t''
never\t''"
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and __fish_seen_subcommand_from systemd" -s v -l verbose -d 'Say also what did not change, and show what deployments print'
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and __fish_seen_subcommand_from systemd" -s q -l quiet -d 'Say only what failed'
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and __fish_seen_subcommand_from systemd" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and __fish_seen_subcommand_from kubernetes" -l image -d 'The container image that has tagship, and what deployments run' -r
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and __fish_seen_subcommand_from kubernetes" -l namespace -d 'The namespace of all objects [default: kubectl\'s]' -r
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and __fish_seen_subcommand_from kubernetes" -l shards -d 'So many CronJobs share the targets, each with a volume of its own' -r
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and __fish_seen_subcommand_from kubernetes" -l config -d 'The configuration file [default: config.toml in $CONFIGURATION_DIRECTORY, ~/.config/tagship or /etc/tagship]' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and __fish_seen_subcommand_from kubernetes" -l state -d 'The state file, whatever the configuration says' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and __fish_seen_subcommand_from kubernetes" -l color -d 'Colour in the output' -r -f -a "auto\t'On a terminal, unless NO_COLOR or TERM=dumb says otherwise'
always\t''
never\t''"
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and __fish_seen_subcommand_from kubernetes" -s v -l verbose -d 'Say also what did not change, and show what deployments print'
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and __fish_seen_subcommand_from kubernetes" -s q -l quiet -d 'Say only what failed'
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and __fish_seen_subcommand_from kubernetes" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and __fish_seen_subcommand_from gitea-actions" -l config -d 'The configuration file [default: config.toml in $CONFIGURATION_DIRECTORY, ~/.config/tagship or /etc/tagship]' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and __fish_seen_subcommand_from gitea-actions" -l state -d 'The state file, whatever the configuration says' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and __fish_seen_subcommand_from gitea-actions" -l color -d 'Colour in the output' -r -f -a "auto\t'On a terminal, unless NO_COLOR or TERM=dumb says otherwise'
always\t''
never\t''"
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and __fish_seen_subcommand_from gitea-actions" -l steps -d 'Only the steps, for a job of your own'
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and __fish_seen_subcommand_from gitea-actions" -s v -l verbose -d 'Say also what did not change, and show what deployments print'
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and __fish_seen_subcommand_from gitea-actions" -s q -l quiet -d 'Say only what failed'
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and __fish_seen_subcommand_from gitea-actions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and __fish_seen_subcommand_from help" -f -a "cron" -d 'A line for a crontab'
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and __fish_seen_subcommand_from help" -f -a "systemd" -d 'A service and a timer'
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and __fish_seen_subcommand_from help" -f -a "kubernetes" -d 'A CronJob with its configuration and a volume for its state'
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and __fish_seen_subcommand_from help" -f -a "gitea-actions" -d 'A workflow of Gitea or Forgejo Actions'
complete -c tagship -n "__fish_tagship_using_subcommand schedule; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tagship -n "__fish_tagship_using_subcommand generate; and not __fish_seen_subcommand_from man completions schema help" -l config -d 'The configuration file [default: config.toml in $CONFIGURATION_DIRECTORY, ~/.config/tagship or /etc/tagship]' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand generate; and not __fish_seen_subcommand_from man completions schema help" -l state -d 'The state file, whatever the configuration says' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand generate; and not __fish_seen_subcommand_from man completions schema help" -l color -d 'Colour in the output' -r -f -a "auto\t'On a terminal, unless NO_COLOR or TERM=dumb says otherwise'
always\t''
never\t''"
complete -c tagship -n "__fish_tagship_using_subcommand generate; and not __fish_seen_subcommand_from man completions schema help" -s v -l verbose -d 'Say also what did not change, and show what deployments print'
complete -c tagship -n "__fish_tagship_using_subcommand generate; and not __fish_seen_subcommand_from man completions schema help" -s q -l quiet -d 'Say only what failed'
complete -c tagship -n "__fish_tagship_using_subcommand generate; and not __fish_seen_subcommand_from man completions schema help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tagship -n "__fish_tagship_using_subcommand generate; and not __fish_seen_subcommand_from man completions schema help" -f -a "man" -d 'The manual pages'
complete -c tagship -n "__fish_tagship_using_subcommand generate; and not __fish_seen_subcommand_from man completions schema help" -f -a "completions" -d 'Completions for bash, zsh and fish'
complete -c tagship -n "__fish_tagship_using_subcommand generate; and not __fish_seen_subcommand_from man completions schema help" -f -a "schema" -d 'A JSON Schema, on standard output'
complete -c tagship -n "__fish_tagship_using_subcommand generate; and not __fish_seen_subcommand_from man completions schema help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tagship -n "__fish_tagship_using_subcommand generate; and __fish_seen_subcommand_from man" -l dir -d 'The folder they are written to' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand generate; and __fish_seen_subcommand_from man" -l config -d 'The configuration file [default: config.toml in $CONFIGURATION_DIRECTORY, ~/.config/tagship or /etc/tagship]' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand generate; and __fish_seen_subcommand_from man" -l state -d 'The state file, whatever the configuration says' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand generate; and __fish_seen_subcommand_from man" -l color -d 'Colour in the output' -r -f -a "auto\t'On a terminal, unless NO_COLOR or TERM=dumb says otherwise'
always\t''
never\t''"
complete -c tagship -n "__fish_tagship_using_subcommand generate; and __fish_seen_subcommand_from man" -s v -l verbose -d 'Say also what did not change, and show what deployments print'
complete -c tagship -n "__fish_tagship_using_subcommand generate; and __fish_seen_subcommand_from man" -s q -l quiet -d 'Say only what failed'
complete -c tagship -n "__fish_tagship_using_subcommand generate; and __fish_seen_subcommand_from man" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tagship -n "__fish_tagship_using_subcommand generate; and __fish_seen_subcommand_from completions" -l dir -d 'The folder they are written to' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand generate; and __fish_seen_subcommand_from completions" -l config -d 'The configuration file [default: config.toml in $CONFIGURATION_DIRECTORY, ~/.config/tagship or /etc/tagship]' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand generate; and __fish_seen_subcommand_from completions" -l state -d 'The state file, whatever the configuration says' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand generate; and __fish_seen_subcommand_from completions" -l color -d 'Colour in the output' -r -f -a "auto\t'On a terminal, unless NO_COLOR or TERM=dumb says otherwise'
always\t''
never\t''"
complete -c tagship -n "__fish_tagship_using_subcommand generate; and __fish_seen_subcommand_from completions" -s v -l verbose -d 'Say also what did not change, and show what deployments print'
complete -c tagship -n "__fish_tagship_using_subcommand generate; and __fish_seen_subcommand_from completions" -s q -l quiet -d 'Say only what failed'
complete -c tagship -n "__fish_tagship_using_subcommand generate; and __fish_seen_subcommand_from completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tagship -n "__fish_tagship_using_subcommand generate; and __fish_seen_subcommand_from schema" -l config -d 'The configuration file [default: config.toml in $CONFIGURATION_DIRECTORY, ~/.config/tagship or /etc/tagship]' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand generate; and __fish_seen_subcommand_from schema" -l state -d 'The state file, whatever the configuration says' -r -F
complete -c tagship -n "__fish_tagship_using_subcommand generate; and __fish_seen_subcommand_from schema" -l color -d 'Colour in the output' -r -f -a "auto\t'On a terminal, unless NO_COLOR or TERM=dumb says otherwise'
always\t''
never\t''"
complete -c tagship -n "__fish_tagship_using_subcommand generate; and __fish_seen_subcommand_from schema" -s v -l verbose -d 'Say also what did not change, and show what deployments print'
complete -c tagship -n "__fish_tagship_using_subcommand generate; and __fish_seen_subcommand_from schema" -s q -l quiet -d 'Say only what failed'
complete -c tagship -n "__fish_tagship_using_subcommand generate; and __fish_seen_subcommand_from schema" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tagship -n "__fish_tagship_using_subcommand generate; and __fish_seen_subcommand_from help" -f -a "man" -d 'The manual pages'
complete -c tagship -n "__fish_tagship_using_subcommand generate; and __fish_seen_subcommand_from help" -f -a "completions" -d 'Completions for bash, zsh and fish'
complete -c tagship -n "__fish_tagship_using_subcommand generate; and __fish_seen_subcommand_from help" -f -a "schema" -d 'A JSON Schema, on standard output'
complete -c tagship -n "__fish_tagship_using_subcommand generate; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tagship -n "__fish_tagship_using_subcommand help; and not __fish_seen_subcommand_from poll status tags deploy mark history retry hold release check login logout init schedule generate help" -f -a "poll" -d 'Ask the registries, decide, and deploy what is new'
complete -c tagship -n "__fish_tagship_using_subcommand help; and not __fish_seen_subcommand_from poll status tags deploy mark history retry hold release check login logout init schedule generate help" -f -a "status" -d 'Show what each target has: newest, deployed, pending, last check, last error'
complete -c tagship -n "__fish_tagship_using_subcommand help; and not __fish_seen_subcommand_from poll status tags deploy mark history retry hold release check login logout init schedule generate help" -f -a "tags" -d 'Show every tag of a target, and why it was taken or not'
complete -c tagship -n "__fish_tagship_using_subcommand help; and not __fish_seen_subcommand_from poll status tags deploy mark history retry hold release check login logout init schedule generate help" -f -a "deploy" -d 'Deploy now, by hand: the newest tag, or one that is named'
complete -c tagship -n "__fish_tagship_using_subcommand help; and not __fish_seen_subcommand_from poll status tags deploy mark history retry hold release check login logout init schedule generate help" -f -a "mark" -d 'Record that something else deployed a tag'
complete -c tagship -n "__fish_tagship_using_subcommand help; and not __fish_seen_subcommand_from poll status tags deploy mark history retry hold release check login logout init schedule generate help" -f -a "history" -d 'Show what was deployed, and how it went'
complete -c tagship -n "__fish_tagship_using_subcommand help; and not __fish_seen_subcommand_from poll status tags deploy mark history retry hold release check login logout init schedule generate help" -f -a "retry" -d 'Make deployments that failed due again'
complete -c tagship -n "__fish_tagship_using_subcommand help; and not __fish_seen_subcommand_from poll status tags deploy mark history retry hold release check login logout init schedule generate help" -f -a "hold" -d 'Stop automatic deployments to targets'
complete -c tagship -n "__fish_tagship_using_subcommand help; and not __fish_seen_subcommand_from poll status tags deploy mark history retry hold release check login logout init schedule generate help" -f -a "release" -d 'Let automatic deployments to targets go on'
complete -c tagship -n "__fish_tagship_using_subcommand help; and not __fish_seen_subcommand_from poll status tags deploy mark history retry hold release check login logout init schedule generate help" -f -a "check" -d 'Validate the configuration'
complete -c tagship -n "__fish_tagship_using_subcommand help; and not __fish_seen_subcommand_from poll status tags deploy mark history retry hold release check login logout init schedule generate help" -f -a "login" -d 'Put a registry\'s token into the keyring'
complete -c tagship -n "__fish_tagship_using_subcommand help; and not __fish_seen_subcommand_from poll status tags deploy mark history retry hold release check login logout init schedule generate help" -f -a "logout" -d 'Take a registry\'s token out of the keyring'
complete -c tagship -n "__fish_tagship_using_subcommand help; and not __fish_seen_subcommand_from poll status tags deploy mark history retry hold release check login logout init schedule generate help" -f -a "init" -d 'Write a configuration to begin with'
complete -c tagship -n "__fish_tagship_using_subcommand help; and not __fish_seen_subcommand_from poll status tags deploy mark history retry hold release check login logout init schedule generate help" -f -a "schedule" -d 'Print what starts a run again and again'
complete -c tagship -n "__fish_tagship_using_subcommand help; and not __fish_seen_subcommand_from poll status tags deploy mark history retry hold release check login logout init schedule generate help" -f -a "generate" -d 'Write what packagers and editors need'
complete -c tagship -n "__fish_tagship_using_subcommand help; and not __fish_seen_subcommand_from poll status tags deploy mark history retry hold release check login logout init schedule generate help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tagship -n "__fish_tagship_using_subcommand help; and __fish_seen_subcommand_from schedule" -f -a "cron" -d 'A line for a crontab'
complete -c tagship -n "__fish_tagship_using_subcommand help; and __fish_seen_subcommand_from schedule" -f -a "systemd" -d 'A service and a timer'
complete -c tagship -n "__fish_tagship_using_subcommand help; and __fish_seen_subcommand_from schedule" -f -a "kubernetes" -d 'A CronJob with its configuration and a volume for its state'
complete -c tagship -n "__fish_tagship_using_subcommand help; and __fish_seen_subcommand_from schedule" -f -a "gitea-actions" -d 'A workflow of Gitea or Forgejo Actions'
complete -c tagship -n "__fish_tagship_using_subcommand help; and __fish_seen_subcommand_from generate" -f -a "man" -d 'The manual pages'
complete -c tagship -n "__fish_tagship_using_subcommand help; and __fish_seen_subcommand_from generate" -f -a "completions" -d 'Completions for bash, zsh and fish'
complete -c tagship -n "__fish_tagship_using_subcommand help; and __fish_seen_subcommand_from generate" -f -a "schema" -d 'A JSON Schema, on standard output'
