package main

import (
	"cmp"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"edgegateway/gatewayd/audit"
	"edgegateway/gatewayd/command"
	"edgegateway/gatewayd/web"
)

const commandUsage = `command list | command try VERB ['{"device":…}'] | command key FILE | ` +
	`command sign --operator NAME --key FILE --gateway NAME [--id ID] [--for 30s] [--ctr N] VERB ['{"device":…}']`

// runCommand is `gatewayd command list|try|key|sign`.
func runCommand(c *cli) error {
	if err := c.takes(1, 3, commandUsage); err != nil {
		return err
	}
	switch {
	case c.args[0] == "list" && len(c.args) == 1:
		return c.listCommands()
	case c.args[0] == "try" && len(c.args) >= 2:
		args, err := c.commandArgs()
		if err != nil {
			return err
		}
		var result json.RawMessage
		if err := c.do(c.args[1], args, &result); err != nil || c.json {
			return err
		}
		return c.printJSON(result)
	case c.args[0] == "key" && len(c.args) == 2:
		return c.makeKey(c.args[1])
	case c.args[0] == "sign" && len(c.args) >= 2:
		return c.signCommand()
	default:
		return usagef("usage: gatewayd %s", commandUsage)
	}
}

// commandArgs is the third argument, a JSON object.
func (c *cli) commandArgs() (json.RawMessage, error) {
	if len(c.args) < 3 {
		return json.RawMessage("{}"), nil
	}
	args := json.RawMessage(c.args[2])
	if !json.Valid(args) {
		return nil, usagef("command %s: the arguments are no JSON object: %s", c.args[0], args)
	}
	return args, nil
}

func (c *cli) listCommands() error {
	ctx, stop := interruptible()
	defer stop()
	var lines []web.VerbLine
	if err := c.call(ctx, "GET", "/api/verbs", nil, &lines); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(lines)
	}
	t := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	for _, l := range lines {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", l.Name, l.Args, l.Level, l.Does)
	}
	return t.Flush()
}

// makeKey makes an operator's key pair: the private half goes to a file that must not exist, the public one is printed
// as the configuration wants it.
func (c *cli) makeKey(file string) error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("%w\n    hint: a key is never overwritten; name a new file", err)
	}
	err = errors.Join(pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: der}), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	der, err = x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return err
	}
	text := base64.StdEncoding.EncodeToString(der)
	if c.json {
		return c.printJSON(struct {
			File string `json:"file"`
			Key  string `json:"key"`
		}{file, text})
	}
	_, err = fmt.Fprintf(c.out, "%s holds the private key: keep it where commands are signed, never on the gateway.\n"+
		"On the gateway, in [[operator]]:\nkey = %q\n", file, text)
	return err
}

// signCommand prints a command as it may be sent.
func (c *cli) signCommand() error {
	key, err := readKey(*c.flags["key"])
	if err != nil {
		return err
	}
	args, err := c.commandArgs()
	if err != nil {
		return err
	}
	valid, err := time.ParseDuration(cmp.Or(*c.flags["for"], "30s"))
	if err != nil || valid <= 0 {
		return usagef("--for %s: write how long the command is valid, such as 30s", *c.flags["for"])
	}
	counter := uint64(0)
	if text := *c.flags["ctr"]; text != "" {
		if counter, err = strconv.ParseUint(text, 10, 64); err != nil {
			return usagef("--ctr %s: write a number, one higher than that of this operator's last command", text)
		}
	}
	operator, gateway := *c.flags["operator"], *c.flags["gateway"]
	if operator == "" || gateway == "" {
		return usagef("command sign needs --operator, the name of one of the gateway's [[operator]], and --gateway, the gateway's name")
	}
	now := time.Now()
	payload, err := json.Marshal(command.Request{
		V: 1, ID: cmp.Or(*c.flags["id"], rand.Text()), Gateway: gateway, Verb: c.args[1], Args: args,
		Issued: now.UnixMilli(), Expires: now.Add(valid).UnixMilli(), Counter: counter,
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "%s\n", command.Sign(key, operator, payload))
	return err
}

// readKey reads an Ed25519 private key: PKCS#8 in PEM, as openssl and `command key` write it.
func readKey(file string) (ed25519.PrivateKey, error) {
	if file == "" {
		return nil, usagef("command sign needs --key, the file of the operator's private key; `gatewayd command key FILE` makes one")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM block", file)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("%s holds no Ed25519 private key in PKCS#8", file)
	}
	return key, nil
}

// runAudit is `gatewayd audit verify|show`: it reads the log's files, with or without a daemon that writes them.
func runAudit(c *cli) error {
	if err := c.takes(1, 1, "audit verify [--head N:HASH] | audit show"); err != nil {
		return err
	}
	dir := filepath.Join(c.state, auditFolder)
	switch c.args[0] {
	case "verify":
		known, hash := uint64(0), ""
		if head := *c.flags["head"]; head != "" {
			number, rest, ok := strings.Cut(head, ":")
			var err error
			if known, err = strconv.ParseUint(number, 10, 64); err != nil || !ok || len(rest) < 8 || known == 0 {
				return usagef("--head %s: write audit_n and audit_hash of an event, with a colon between", head)
			}
			hash = rest
		}
		s, err := audit.Verify(dir, known, hash)
		if err != nil {
			return fmt.Errorf("the audit log is broken: %w", err)
		}
		if c.json {
			return c.printJSON(s)
		}
		_, err = fmt.Fprintf(c.out, "the chain of %d entries is whole, from %d to %d; the last hash is %s\n", s.Entries, s.First, s.Last, s.Hash)
		return err
	case "show":
		return audit.Each(dir, func(line []byte) error {
			_, err := fmt.Fprintf(c.out, "%s\n", line)
			return err
		})
	default:
		return usagef("audit %s: allowed are verify, show", c.args[0])
	}
}
