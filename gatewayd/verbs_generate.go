package main

import (
	"fmt"
	"io"
	"strings"
)

// runGenerate prints what the package carries beside the binary, made from the table of verbs so that it can't say
// anything else than the binary does.
func runGenerate(c *cli) error {
	if err := c.takes(1, 1, "generate man|bash|zsh|fish"); err != nil {
		return err
	}
	switch c.args[0] {
	case "man":
		return printed(c.out, manPage())
	case "bash":
		return printed(c.out, bashCompletion())
	case "zsh":
		return printed(c.out, zshCompletion())
	case "fish":
		return printed(c.out, fishCompletion())
	}
	return usagef("generate %s: allowed are man, bash, zsh and fish", c.args[0])
}

func printed(w io.Writer, text string) error {
	_, err := io.WriteString(w, text)
	return err
}

// commonFlag is a flag that every verb has.
type commonFlag struct{ name, value, does string }

func commonFlags() []commonFlag {
	return []commonFlag{
		{"config", "FILE", "configuration (default /etc/gatewayd/gatewayd.toml)"},
		{"state", "DIR", "what outlives a restart (default $STATE_DIRECTORY or /var/lib/gatewayd)"},
		{"runtime", "DIR", "where the control socket is (default $RUNTIME_DIRECTORY or /run/gatewayd)"},
		{"credentials", "DIR", "secrets (default $CREDENTIALS_DIRECTORY or /etc/gatewayd/credentials)"},
		{"json", "", "print JSON"},
	}
}

// words are the first arguments that a verb's usage names: "list|show NAME" has list and show.
func (v *verb) words() []string {
	first, _, _ := strings.Cut(strings.Trim(v.args, "["), "]")
	var found []string
	for choice := range strings.SplitSeq(first, "|") {
		word, _, _ := strings.Cut(choice, " ")
		if word == "" || strings.HasPrefix(word, "-") || word != strings.ToLower(word) {
			continue
		}
		found = append(found, word)
	}
	return found
}

// options are a verb's own flags, as they are typed.
func (v *verb) options() []string {
	var all []string
	for _, name := range v.flags {
		all = append(all, "--"+name)
	}
	for _, name := range v.switches {
		all = append(all, "--"+name)
	}
	return all
}

// roff keeps a text from being taken for requests and escapes of the formatter.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}

func manPage() string {
	var b strings.Builder
	b.WriteString(`.TH GATEWAYD 8
.SH NAME
gatewayd \- edge gateway between field devices and an IoT platform
.SH SYNOPSIS
.B gatewayd
.I VERB
.RI [ ARGUMENTS ]
.RI [ FLAGS ]
.SH DESCRIPTION
.B gatewayd run
polls the field devices that its configuration names, keeps what they say until the platform has it, and takes
commands. The other verbs speak to the running daemon over its control socket, or need none.
.SH VERBS
`)
	for _, v := range verbs() {
		fmt.Fprintf(&b, ".TP\n.B %s\n%s.\n", roff(strings.TrimSpace(v.name+" "+v.args)), roff(v.does))
	}
	b.WriteString(".SH OPTIONS\nEvery verb has these:\n")
	for _, f := range commonFlags() {
		fmt.Fprintf(&b, ".TP\n.BI %s \" %s\"\n%s.\n", roff("--"+f.name), f.value, roff(f.does))
	}
	b.WriteString(`.SH EXIT STATUS
0 when all is fine, 1 when the answer is no, 2 when it was used wrongly, 3 when the daemon can't be reached.
.SH FILES
.TP
.I /etc/gatewayd/gatewayd.toml
The configuration, then conf.d/*.toml beside it in the order of their names. It is explained in
/usr/share/doc/gatewayd/configuration.md.
.TP
.I /etc/gatewayd/profiles/*.toml
Device profiles beside those that are built in.
.TP
.I /etc/gatewayd/credentials
Secrets, each a file that the configuration names.
.TP
.I /var/lib/gatewayd
The buffer, and what else outlives a restart.
.TP
.I /run/gatewayd/control.sock
The control socket; the group gatewayd may speak to it.
.SH SEE ALSO
.BR systemctl (1),
.BR journalctl (1)
`)
	return b.String()
}

func bashCompletion() string {
	var b strings.Builder
	b.WriteString("# bash completion for gatewayd, made by `gatewayd generate bash`\n_gatewayd() {\n" +
		"\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words\n\tCOMPREPLY=()\n\tcase $prev in\n")
	for _, f := range commonFlags() {
		switch f.value {
		case "FILE":
			fmt.Fprintf(&b, "\t--%s) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", f.name)
		case "DIR":
			fmt.Fprintf(&b, "\t--%s) COMPREPLY=($(compgen -d -- \"$cur\")); return ;;\n", f.name)
		}
	}
	b.WriteString("\tesac\n\tif [ \"$COMP_CWORD\" -eq 1 ]; then\n\t\twords=\"" + strings.Join(verbNames(), " ") + "\"\n\telse\n\t\tcase ${COMP_WORDS[1]} in\n")
	for _, v := range verbs() {
		if own := append(v.words(), v.options()...); len(own) > 0 {
			fmt.Fprintf(&b, "\t\t%s) words=\"%s\" ;;\n", v.name, strings.Join(own, " "))
		}
	}
	b.WriteString("\t\tesac\n\t\twords=\"$words " + strings.Join(commonOptions(), " ") + "\"\n\tfi\n" +
		"\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\ncomplete -o default -F _gatewayd gatewayd\n")
	return b.String()
}

func verbNames() []string {
	var names []string
	for _, v := range verbs() {
		names = append(names, v.name)
	}
	return names
}

func commonOptions() []string {
	var all []string
	for _, f := range commonFlags() {
		all = append(all, "--"+f.name)
	}
	return all
}

// quoted puts a text into single quotes of a shell.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

func zshCompletion() string {
	var b strings.Builder
	b.WriteString("#compdef gatewayd\n# made by `gatewayd generate zsh`\n_gatewayd() {\n\tlocal -a verbs\n\tverbs=(\n")
	for _, v := range verbs() {
		fmt.Fprintf(&b, "\t\t%s\n", quoted(v.name+":"+v.does))
	}
	b.WriteString("\t)\n\tif (( CURRENT == 2 )); then\n\t\t_describe verb verbs\n\t\treturn\n\tfi\n\tcase ${words[2]} in\n")
	for _, v := range verbs() {
		if own := append(v.words(), v.options()...); len(own) > 0 {
			fmt.Fprintf(&b, "\t%s) compadd -- %s ;;\n", v.name, strings.Join(own, " "))
		}
	}
	b.WriteString("\tesac\n\tcompadd -- " + strings.Join(commonOptions(), " ") + "\n\t_files\n}\n_gatewayd \"$@\"\n")
	return b.String()
}

func fishCompletion() string {
	var b strings.Builder
	b.WriteString("# made by `gatewayd generate fish`\n")
	for _, v := range verbs() {
		fmt.Fprintf(&b, "complete -c gatewayd -n __fish_use_subcommand -f -a %s -d %s\n", v.name, quoted(v.does))
		if own := v.words(); len(own) > 0 {
			fmt.Fprintf(&b, "complete -c gatewayd -n '__fish_seen_subcommand_from %s' -a %s\n", v.name, quoted(strings.Join(own, " ")))
		}
		for _, name := range v.flags {
			fmt.Fprintf(&b, "complete -c gatewayd -n '__fish_seen_subcommand_from %s' -l %s -r\n", v.name, name)
		}
		for _, name := range v.switches {
			fmt.Fprintf(&b, "complete -c gatewayd -n '__fish_seen_subcommand_from %s' -l %s\n", v.name, name)
		}
	}
	for _, f := range commonFlags() {
		needs := ""
		if f.value != "" {
			needs = " -r"
		}
		fmt.Fprintf(&b, "complete -c gatewayd -l %s%s -d %s\n", f.name, needs, quoted(f.does))
	}
	return b.String()
}
