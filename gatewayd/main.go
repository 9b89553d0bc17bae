// Command gatewayd bridges field devices to an IoT platform: it polls them, keeps what they say until the platform
// has it, and takes commands from the command line and from afar.
//
// The same words serve locally and remotely: each verb has a file here. `gatewayd run` is the daemon (run.go reads
// from top to bottom); the other verbs either need no daemon (check, profile, dialects, version) or speak to the
// running one over its control socket.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
)

func main() { os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr)) }

// Exit codes, fixed by the command line's contract.
const (
	exitNo          = 1 // the answer is no
	exitUsage       = 2 // used wrongly
	exitUnreachable = 3 // the daemon can't be reached
)

// errNo ends a verb whose answer is no and has been printed already.
var errNo = errors.New("no")

// usageError is a call that cannot be meant.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// cli is one call of the command line: where to print, and the flags that every verb has.
type cli struct {
	out, err io.Writer
	args     []string // without flags
	json     bool
	config   string
	state    string
	runtime  string
	creds    string
	flags    map[string]*string // a verb's own
	switches map[string]*bool
}

// verb is a row of the command line's table.
type verb struct {
	name, args, does string
	flags, switches  []string // its own flags: with a value, without
	run              func(*cli) error
}

func verbs() []verb {
	return []verb{
		{"run", "[--log LEVEL]", "run the daemon; LEVEL is debug, info, warn or error", []string{"log"}, nil, runDaemon},
		{"check", "[FILE] [--force]", "read configuration and profiles, bind every device, sum up the lines' budgets; no I/O", nil, []string{"force"}, runCheck},
		{"status", "", "one screen: platforms, lines, devices, buffer, clock", nil, nil, runStatus},
		{"read", "DEVICE [TAG] | DEVICE AT --expect NUMBER [--again]", "read a device once, now, through the running daemon; find out how a number is encoded",
			[]string{"expect"}, []string{"again"}, runRead},
		{"write", "DEVICE TAG VALUE [--select]", "write a tag once, now, through the running daemon; --select announces it, for tags that want that", nil, []string{"select"}, runWrite},
		{"scan", "LINE|PORT|HOST [--from A] [--to B] [--modes \"9600 8N1,19200 8E1\"] [--protocol NAME] [--timeout 200ms]", "find out who answers on a line; polls go on",
			[]string{"from", "to", "modes", "protocol", "timeout", "framing"}, nil, runScan},
		{"watch", "[DEVICE]", "live readings", nil, nil, runWatch},
		{"trace", "LINE", "live hex frames of a line, decoded", nil, nil, runTrace},
		{"backlog", "[show|export|drop --yes|verify|salvage] [FOLDER] [--platform NAME]", "what waits for the platforms; give it up; with the daemon off, read a store that was set aside and take it back", []string{"platform"}, []string{"yes", "export"}, runBacklog},

		{"ledger", "", "what was lost, and why", nil, nil, runLedger},
		{"profile", "list|show NAME|test FILE|new NAME --scan FILE [--address A]|import FORMAT FILE [--name NAME] [--one-based]",
			"profiles and their captured frames; begin one from a scan, or from another project's description", []string{"scan", "address", "name"}, []string{"one-based"}, runProfile},
		{"units", "", "how the named units of the machine are", nil, nil, runUnits},
		{"restart", "[UNIT]", "restart a named unit; without one, the gateway", nil, nil, runRestart},
		{"reboot", "REASON", "restart the machine; the reason is told when it is back", nil, nil, runReboot},
		{"logs", "[UNIT] [--since 1h] [--priority P] [--bytes N]", "the newest of the journal", []string{"since", "priority", "bytes"}, []string{"send"}, runLogs},
		{"command", "list|try VERB [ARGS]|key FILE|sign VERB [ARGS]", "what the platform may ask; try it locally; sign it to be sent",
			[]string{"operator", "key", "gateway", "id", "for", "ctr"}, nil, runCommand},
		{"config", "show|set FILE [--within 10m] [--percent 90] [--confirm]|confirm|return", "the configuration that runs; try another one",
			[]string{"within", "percent"}, []string{"confirm"}, runConfig},
		{"drill", "outage DURATION [--platform NAME]", "cut our own uplink, and prove that nothing is lost", []string{"platform"}, nil, runDrill},
		{"report", "[--support [FILE]]", "the acceptance report; or a bundle for support, without secrets", nil, []string{"support"}, runReport},
		{"audit", "verify [--head N:HASH]|show", "the account of all commands, and whether it is whole", []string{"head"}, nil, runAudit},
		{"provision", "TICKET", "make this the gateway that a platform's ticket is for", nil, nil, runProvision},
		{"identity", "", "the gateway's certificate, and whether this box is the one that it is for", nil, nil, runIdentity},
		{"update", "[MANIFEST|cancel]", "fetch and install a version; how that is going", nil, []string{"one-way"}, runUpdate},
		{"updater", "[hold FILE.deb]", "what gatewayd-update.service runs as root", []string{"folder", "window", "settle", "share"}, nil, runUpdater},
		{"manifest", "FILE.deb [BASE.deb…] --key FILE --url URL", "for publishers: sign a manifest", []string{"key", "url", "min", "days", "notes"}, []string{"one-way"}, runManifest},
		{"dialects", "", "the platforms' dialects, and which are in this build", nil, nil, runDialects},
		{"reload", "", "have the daemon take up the changed configuration, or refuse it; what is the same goes on", nil, nil, runReload},
		{"version", "", "the version of this binary", nil, nil, runVersion},
		{"generate", "man|bash|zsh|fish", "the manual page, or a shell's completions, of this binary", nil, nil, runGenerate},
	}
}

func execute(args []string, out, errOut io.Writer) int {
	err := dispatch(args, out, errOut)
	var usage *usageError
	var gone *unreachableError
	var again *againError
	switch {
	case errors.As(err, &again):
		return startAnew(again.generation, errOut)
	case err == nil:
		return 0
	case errors.Is(err, errNo):
		return exitNo
	case errors.As(err, &usage):
		fmt.Fprintln(errOut, "gatewayd: "+usage.text)
		return exitUsage
	case errors.As(err, &gone):
		fmt.Fprintln(errOut, "gatewayd: "+gone.Error())
		return exitUnreachable
	default:
		fmt.Fprintln(errOut, "gatewayd: "+err.Error())
		return exitNo
	}
}

func dispatch(args []string, out, errOut io.Writer) error {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		help(out)
		if len(args) == 0 {
			return usagef("say what to do: one of the verbs above")
		}
		return nil
	}
	table := verbs()
	for i := range table {
		if table[i].name == args[0] {
			c := &cli{out: out, err: errOut}
			if err := c.parse(&table[i], args[1:]); err != nil {
				return err
			}
			return table[i].run(c)
		}
	}
	return usagef("there is no verb %q; `gatewayd help` lists them", args[0])
}

func help(w io.Writer) {
	fmt.Fprintln(w, "usage: gatewayd VERB [ARGUMENTS] [FLAGS]")
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, v := range verbs() {
		fmt.Fprintf(t, "  %s\t%s\t%s\n", v.name, v.args, v.does)
	}
	t.Flush()
	fmt.Fprint(w, "\nflags of every verb:\n")
	for _, f := range commonFlags() {
		fmt.Fprintf(w, "  %-19s %s\n", strings.TrimSpace("--"+f.name+" "+f.value), f.does)
	}
	fmt.Fprint(w, `
exit codes: 0 fine, 1 the answer is no, 2 used wrongly, 3 the daemon can't be reached
`)
}

// parse takes flags and arguments in any order.
func (c *cli) parse(v *verb, args []string) error {
	f := flag.NewFlagSet("gatewayd "+v.name, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.BoolVar(&c.json, "json", false, "")
	f.StringVar(&c.config, "config", "/etc/gatewayd/gatewayd.toml", "")
	f.StringVar(&c.state, "state", fromEnv("STATE_DIRECTORY", "/var/lib/gatewayd"), "")
	f.StringVar(&c.runtime, "runtime", fromEnv("RUNTIME_DIRECTORY", "/run/gatewayd"), "")
	f.StringVar(&c.creds, "credentials", fromEnv("CREDENTIALS_DIRECTORY", "/etc/gatewayd/credentials"), "")
	c.flags, c.switches = map[string]*string{}, map[string]*bool{}
	for _, name := range v.flags {
		c.flags[name] = f.String(name, "", "")
	}
	for _, name := range v.switches {
		c.switches[name] = f.Bool(name, false, "")
	}
	for {
		if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
			return usagef("usage: gatewayd %s %s", v.name, v.args)
		} else if err != nil {
			return usagef("%s: %v; `gatewayd help` lists the flags", v.name, err)
		}
		rest := f.Args()
		// A lone "--" makes everything behind it an argument, so that negative values can be written.
		if used := len(args) - len(rest); used > 0 && args[used-1] == "--" {
			c.args = append(c.args, rest...)
			return nil
		}
		if len(rest) == 0 {
			return nil
		}
		c.args, args = append(c.args, rest[0]), rest[1:]
		// A negative number is an argument, not a flag.
		for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' && strings.ContainsAny(args[0][1:2], "0123456789.") {
			c.args, args = append(c.args, args[0]), args[1:]
		}
	}
}

// fromEnv takes the first of the folders that systemd names in a variable.
func fromEnv(name, otherwise string) string {
	first, _, _ := strings.Cut(os.Getenv(name), ":")
	if first == "" {
		return otherwise
	}
	return first
}

func (c *cli) socket() string { return filepath.Join(c.runtime, "control.sock") }

// takes says that a verb wants between least and most arguments.
func (c *cli) takes(least, most int, usage string) error {
	if len(c.args) < least || len(c.args) > most {
		return usagef("usage: gatewayd %s", usage)
	}
	return nil
}
