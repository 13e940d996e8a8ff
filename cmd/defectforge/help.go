package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// text is what a command's help says beside its one line.
type text struct{ long, example string }

// texts are those of the commands that do not bring their own, by path below the
// program's name. A test runs every example as far as that goes without effect.
var texts = map[string]text{
	"": {example: `  defectforge demo
  defectforge run --images photos/scratches --class scratches --recipe quick
  defectforge runs list --class scratches
  defectforge releases pull scratches --dir scratches`},
	"demo": {`Draw pictures of scratches on brushed metal into a folder below --data-dir, and
run the quick recipe on them: everything that a real run does, with nothing at
hand. The same command again finds what it has done.`, `  defectforge demo
  defectforge demo --count 200 --set train.epochs=10 --json`},
	"up": {example: `  defectforge up
  defectforge up --data-dir /srv/defectforge --json`},
	"worker": {example: `  TEMPORAL_ADDRESS=temporal.example:7233 DEFECTFORGE_STORE_ENDPOINT=s3.example:443 defectforge worker --role io
  defectforge worker --role training --worker-threads 8`},
	"runs": {`Runs are workflows on Temporal. They are found by the identifier that ` + "`run`" + `
prints, on the cluster of the environment or on the stack of --data-dir.`, `  defectforge runs list
  defectforge runs watch augment-scratches-0123456789ab`},
	"runs list": {`List runs, the latest first, as far back as the namespace keeps closed ones.`, `  defectforge runs list
  defectforge runs list --class scratches --verdict pass --limit 5 -o yaml
  defectforge runs list --stage AwaitApproval --json`},
	"runs show": {`Show how far a run is, or how it ended: its stages with their times, verdict,
approval, digests, and the keys of report and record.`, `  defectforge runs show augment-scratches-0123456789ab
  defectforge runs show augment-scratches-0123456789ab --run 01a20a4d-fc14-7f26-9b9d-bba06103b8ad -o json`},
	"runs watch": {`Follow a run until it ends, wherever it runs, as ` + "`run`" + ` itself does: with a bar on a
terminal, else with a line now and then. The exit status is that of ` + "`run`" + `:
0 published, 1 failed, 3 not approved. Ctrl-C ends the watching, not the run.`, `  defectforge runs watch augment-scratches-0123456789ab
  defectforge runs watch augment-scratches-0123456789ab --json 2>/dev/null`},
	"runs approve": {example: `  defectforge runs approve augment-scratches-0123456789ab --reason "looked at the report"
  defectforge runs approve augment-scratches-0123456789ab --reason "line 3 needs it" --as ada`},
	"runs reject": {example: `  defectforge runs reject augment-scratches-0123456789ab --reason "all of them show one scratch"`},
	"runs cancel": {`Cancel a run. A running stage ends at its next sign of life; nothing is
published, and nobody is notified. The same ` + "`run`" + ` command starts it anew, and
finds what the cancelled one had done.`, `  defectforge runs cancel augment-scratches-0123456789ab`},
	"releases": {`Releases are the published sets, in the bucket below releases/. These commands
need the store alone, no Temporal.`, `  defectforge releases list
  defectforge releases verify scratches`},
	"releases list": {`List the releases of every class, or of one, with what is wrong with a damaged
one and why one was withdrawn.`, `  defectforge releases list
  defectforge releases list --class scratches -o yaml`},
	"releases verify": {`Recompute every digest of a release, or of a folder that ` + "`releases pull`" + ` has made,
and tell exactly what differs. The exit status is 1 where anything does.`, `  defectforge releases verify scratches
  defectforge releases verify scratches/0123456789abcdef --public-key release.pub --json
  defectforge releases verify --dir scratches`},
	"releases pull": {`Download a release into a new folder and verify every byte of it, or make one
classification set of several classes, with a folder for each.`, `  defectforge releases pull scratches --dir scratches
  defectforge releases pull --classification classes scratches pits`},
	"releases withdraw": {`Mark a release as not to be used, for good. It stays readable; ` + "`list`" + ` and ` + "`verify`" + `
say so, and ` + "`pull`" + ` refuses it.`, `  defectforge releases withdraw scratches --reason "wrong light on line 3"
  defectforge releases withdraw scratches/0123456789abcdef --reason "copied images" --json`},
	"checkpoint": {`A checkpoint is a safetensors file with both networks, their optimisers' state and
what made them.`, `  defectforge checkpoint inspect augment-scratches-0123456789ab`},
	"checkpoint inspect": {`Verify a checkpoint's checksum and list its tensors and metadata. It is a file, a
key in the bucket, or what a finished run ended with.`, `  defectforge checkpoint inspect generator.safetensors
  defectforge checkpoint inspect augment-scratches-0123456789ab -o json`},
	"checkpoint export": {`Write the generator or the discriminator as a safetensors file whose names are
those of the PyTorch twin's state.`, `  defectforge checkpoint export augment-scratches-0123456789ab --out generator.safetensors
  defectforge checkpoint export generator.safetensors --network generator --out again.safetensors`},
	"config": {`The configuration is read from defaults, a YAML file, the environment
(DEFECTFORGE_...) and flags, the later above the earlier.`, `  defectforge config show
  DEFECTFORGE_LOG_LEVEL=debug defectforge config show --json`},
	"config show": {`Print every key with its effective value, and in a comment where the value comes
from: default, file, environment or flag. Secrets are hidden.`, `  defectforge config show
  defectforge config show --log-level debug -o yaml`},
	"config init": {`Write a file with every key at its default, commented out and explained. It is
readable by its owner alone, as secrets may be put into it.`, `  defectforge config init
  defectforge config init ~/.config/defectforge/defectforge.yaml --force`},
	"config validate": {`Name every problem of the configuration at once, with the file and line, or the
variable, that it comes from. The exit status is 2 where there is any.`, `  defectforge config validate
  defectforge config validate --config deploy.yaml --json`},
	"doctor": {`Check processor, memory, disk, ports, clock, Temporal with its namespace and
search attributes, and the store with its conditional writes; each with what to
do where it falls short. The exit status is 1 where anything fails.`, `  defectforge doctor
  defectforge doctor --fix --json`},
	"version": {`Print the version, the revision it was built from, and whether the embedded stack
is part of it.`, `  defectforge version
  defectforge version --json`},
	"schedule": {example: `  defectforge schedule create nightly --images s3://factory/dents/ --class dents --cron "0 2 * * *"
  defectforge schedule list`},
	"schedule list": {`List schedules with when they run, when next, and what they last started.`, `  defectforge schedule list
  defectforge schedule list -o json`},
	"schedule describe": {`Show a schedule's times and policies, what it starts, and what its latest runs
came to.`, `  defectforge schedule describe nightly
  defectforge schedule describe nightly -o yaml`},
	"schedule pause": {`Stop a schedule from starting runs, until it is resumed. Runs under way go on.`, `  defectforge schedule pause nightly --note "line 3 is down"`},
	"schedule resume": {`Let a paused schedule start runs again. Runs that were due meanwhile are not made
up for: see ` + "`schedule backfill`" + `.`, `  defectforge schedule resume nightly`},
	"schedule trigger":  {`Start a schedule's run now, beside its times.`, `  defectforge schedule trigger nightly`},
	"schedule backfill": {`Start the runs that a schedule would have started in a time that is over.`, ``},
	"schedule delete":   {`Delete a schedule. Runs that it has started go on, and what they made stays.`, `  defectforge schedule delete nightly`},
	"campaign": {`A campaign is a workflow that has runs as its children: one for each class below a
prefix, or one for each choice of recipe values of one class. Its report compares
them.`, `  defectforge campaign run --images s3://factory/defects/ --recipe small-data
  defectforge campaign list`},
	"campaign list": {`List campaigns, the latest first, as far back as the namespace keeps closed ones.`, `  defectforge campaign list
  defectforge campaign list --limit 5 -o json`},
	"campaign show": {`Show how far a campaign is, or what each of its runs came to, and where its report
is.`, `  defectforge campaign show campaign-weekly
  defectforge campaign show campaign-weekly -o yaml`},
	"campaign watch": {`Follow a campaign until it ends. Ctrl-C ends the watching, not the campaign.`, `  defectforge campaign watch campaign-weekly`},
	"campaign retry": {example: `  defectforge campaign retry campaign-weekly
  defectforge campaign retry campaign-weekly --concurrency 2 --detach`},
	"campaign cancel": {`Cancel a campaign and the runs that it has under way. What has ended stays, and
` + "`campaign retry`" + ` does the rest.`, `  defectforge campaign cancel campaign-weekly`},
	"completion": {`Print a script that completes commands, flags, and the names of runs, classes and
releases of a stack or cluster that answers. Nothing is started to complete.`, `  source <(defectforge completion bash)`},
	"completion bash": {example: `  source <(defectforge completion bash)
  defectforge completion bash > /etc/bash_completion.d/defectforge`},
	"completion zsh": {example: `  source <(defectforge completion zsh)
  defectforge completion zsh > "${fpath[1]}/_defectforge"`},
	"completion fish": {example: `  defectforge completion fish | source
  defectforge completion fish > ~/.config/fish/completions/defectforge.fish`},
	"completion powershell": {example: `  defectforge completion powershell | Out-String | Invoke-Expression`},
}

// equip gives every command what all have in common: a text, examples, the
// formats of its output, and completion.
func (p *program) equip(root *cobra.Command) {
	root.SetOut(p.stdout) // the completion commands keep what they find here
	root.InitDefaultCompletionCmd()
	walk(root, "", func(c *cobra.Command, path string) {
		t := texts[path]
		// Cobra's own texts on completion say how to install it for each shell.
		if c.Long == "" || path == "completion" {
			c.Long = t.long
		}
		if c.Example == "" {
			c.Example = t.example
		}
		p.addOutput(c)
		p.addCompletion(c, path)
	})
}

// walk visits a command and those below it, each with its path below the root.
func walk(c *cobra.Command, path string, visit func(*cobra.Command, string)) {
	visit(c, path)
	for _, sub := range c.Commands() {
		walk(sub, strings.TrimSpace(path+" "+sub.Name()), visit)
	}
}
