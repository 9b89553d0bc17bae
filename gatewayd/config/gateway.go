package config

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"edgegateway/adapters/profile/strict"
)

const (
	day = 24 * time.Hour
	mib = 1 << 20
)

func (l *loader) readGateway(t *strict.Table) {
	if t == nil {
		l.report.Add(Problem{Place: strict.Place{File: l.file, Line: 1, Column: 1}, Fatal: true,
			Text: "there is no [gateway]", Hint: `begin with [gateway] and name = "…", the name that the platform knows this box by`})
		return
	}
	l.config.tables[tableKey{KindGateway, ""}] = t
	l.config.Gateway = Gateway{
		Name: t.NeedName("name", `the name that the platform knows this box by: name = "site1-gw1"`),
		Site: t.Text("site"), Clock: t.OneOf("clock", ClockAuto, ClockAuto, ClockKernel, ClockTrusted),
	}
	t.Done(nil)
}

func (l *loader) readBuffer(t *strict.Table) {
	l.config.Buffer = Buffer{Limit: 512 * mib, Keep: 30 * day, KeepEvents: 30 * day, KeepReplies: 30 * day, Commit: time.Second,
		CommitEvents: 10 * time.Millisecond}
	if t == nil {
		return
	}
	b := &l.config.Buffer
	b.Limit = t.Size("limit", b.Limit, 16*mib, 1<<44)
	b.Keep = t.Duration("keep", b.Keep, time.Minute, 3660*day)
	b.KeepEvents = t.Duration("keep_events", b.Keep, time.Minute, 3660*day)
	b.KeepReplies = t.Duration("keep_replies", b.Keep, time.Minute, 3660*day)
	b.Thin = thinSteps(t)
	b.CommitEvents = t.Duration("commit_events", b.CommitEvents, time.Millisecond, time.Second)
	b.Commit = t.Duration("commit", b.Commit, 100*time.Millisecond, 10*time.Minute)
	b.DurableFirst = t.Flag("durable_first")
	t.Done(nil)
}

// thinSteps reads [buffer] thin.
func thinSteps(t *strict.Table) []time.Duration {
	const hint = `rising steps of 1s to 24h, finest first: thin = ["1m", "15m"]; leave thin out to give up whole records, the oldest first`
	var steps []time.Duration
	for _, v := range t.Values("thin") {
		d, err := strict.ParseDuration(v.AsText())
		switch {
		case err != nil:
			t.ComplainOf("thin", v, "this is no duration: "+err.Error(), hint)
		case d < time.Second || d > day:
			t.ComplainOf("thin", v, "this is no step for readings", hint)
		case len(steps) > 0 && d <= steps[len(steps)-1]:
			t.ComplainOf("thin", v, "this is not coarser than the step before it", hint)
		default:
			steps = append(steps, d)
		}
	}
	return steps
}

func (l *loader) readWeb(t *strict.Table) {
	if t == nil {
		return
	}
	listen := t.Need("listen", `listen = "127.0.0.1:8080"; leave out [web] for no local page`)
	if fault := hostPort(listen, true); listen != "" && fault != "" {
		t.Complain("listen", fault, `write address:port: "127.0.0.1:8080"`)
	}
	t.Done(nil)
	if !t.Failed() {
		l.config.Web.Listen = listen
	}
}

// readSystemd reads the units that may be asked for. A name without a kind is a service.
func (l *loader) readSystemd(t *strict.Table) {
	if t == nil {
		return
	}
	units := []string{}
	for _, v := range t.Values("units") {
		name := v.AsText()
		if !strings.Contains(name, ".") {
			name += ".service"
		}
		stem, kind := strings.TrimSuffix(name, filepath.Ext(name)), filepath.Ext(name)
		strange := strings.ContainsFunc(stem, func(r rune) bool { return !strings.ContainsRune(unitLetters, r) })
		if stem == "" || strange || !slices.Contains(unitKinds, kind) {
			t.ComplainOf("units", v, "this is no unit that can be restarted", `the unit's name as systemctl prints it: units = ["bluetooth.service"]`)
			continue
		}
		units = append(units, name)
	}
	t.Done(nil)
	if !t.Failed() {
		l.config.Systemd.Units = units
	}
}

// What a unit's name is made of, systemd.unit(5), and the kinds that a restart makes sense for.
const unitLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@"

var unitKinds = []string{".service", ".socket", ".timer", ".path"}

func (l *loader) readUpdate(t *strict.Table) {
	l.config.Update = Update{Budget: 64 * mib}
	if t == nil {
		return
	}
	l.config.Update.Budget = t.Size("budget", l.config.Update.Budget, mib, 1<<40)
	t.Done(nil)
}

// hostPort says what is wrong with "host:port"; "" when nothing is. For listening the host may be left out, and the
// port may be 0.
func hostPort(s string, listening bool) string {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "this is no host:port"
	}
	n, err := strconv.ParseUint(port, 10, 16)
	switch {
	case err != nil || n == 0 && !listening:
		return fmt.Sprintf("%q is no port: allowed are 1 to 65535", port)
	case host == "" && !listening:
		return "the host is missing"
	}
	return ""
}

func (l *loader) readOperators() {
	for _, t := range l.tables("operator") {
		o := Operator{Name: t.NeedName("name", `such as name = "control-room"`)}
		if o.Name != "" {
			t.Where = fmt.Sprintf("operator %q", o.Name)
		}
		l.claim(KindOperator, o.Name, t)
		hint := "an Ed25519 public key in base64: openssl pkey -in operator.pem -pubout -outform DER | base64 -w0"
		if text := t.Need("key", hint); text != "" {
			key, fault := publicKey(text)
			if fault != "" {
				t.Complain("key", fault, hint)
			}
			o.Key = key
		}
		o.Verbs = l.readVerbs(t, "verbs")
		if !t.Has("verbs") {
			t.Missing("verbs", `what the operator may do: verbs = ["status", "read"]`)
		}
		o.Level = t.OneOf("level", "admin", "observe", "operate", "configure", "admin")
		t.Done(nil)
		if !t.Failed() {
			l.config.Operators = append(l.config.Operators, o)
		}
	}
}

// publicKey reads an Ed25519 SubjectPublicKeyInfo in base64, or says what is wrong with it.
func publicKey(text string) (key []byte, fault string) {
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, "this is not base64"
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, "this is base64, but no public key (SubjectPublicKeyInfo)"
	}
	ed, ok := parsed.(ed25519.PublicKey)
	if !ok {
		return nil, "this is a public key, but not of Ed25519"
	}
	return ed, ""
}

// readVerbs reads a list of verbs and complains about those that there are not.
func (l *loader) readVerbs(t *strict.Table, key string) []string {
	var verbs []string
	for _, v := range t.Values(key) {
		if !slices.Contains(l.build.Verbs, v.AsText()) {
			t.ComplainOf(key, v, "there is no such verb", strict.Choices(v.AsText(), l.build.Verbs))
			continue
		}
		verbs = append(verbs, v.AsText())
	}
	return verbs
}

func (l *loader) readPlatforms() {
	first, others := l.single("platform"), l.tables("also")
	if first != nil {
		l.readPlatform(first, "platform")
	} else if len(others) > 0 {
		others[0].Complain("", "there is no [platform]", "write [platform] for the first platform, and [[also]] for others")
	} else if l.config.Gateway.Name != "" {
		l.report.Add(l.config.Problem(Warning, KindGateway, "", "", "there is no [platform]: what is read goes nowhere and is not kept", ""))
	}
	for _, t := range others {
		l.readPlatform(t, "")
	}
	l.checkClients()
}

// readPlatform reads [platform], whose name has a default, or one [[also]], which needs one.
func (l *loader) readPlatform(t *strict.Table, name string) {
	p := Platform{Name: name}
	if name == "" || t.Has("name") {
		p.Name = t.NeedName("name", `a name for this platform: name = "scada"`)
	}
	if t.Name == "also" && p.Name != "" {
		t.Where = fmt.Sprintf("platform %q", p.Name)
	}
	l.claim(KindPlatform, p.Name, t)

	p.Dialect = t.OneOf("dialect", "native", l.build.dialectNames()...)
	p.Servers = readServers(t)
	p.Client = t.Text("client")
	if p.Client == "" {
		p.Client = l.config.Gateway.Name
		if t.Name == "also" {
			p.Client += "-" + p.Name // two sessions with one client id would throw each other out
		}
	}
	p.Prefix = t.Text("prefix")
	p.Username = t.Text("username")
	p.Secret = readCredential(t, "secret", false)
	p.CA, p.Cert, p.Key = readCredential(t, "ca", true), readCredential(t, "cert", true), readCredential(t, "key", true)
	if p.Identity = t.Flag("identity"); p.Identity && (t.Has("cert") || t.Has("key")) {
		t.Complain("identity", "the identity brings a certificate and a key of its own", "leave out cert and key, or identity")
	}
	if t.Has("cert") != t.Has("key") {
		present := "cert"
		if t.Has("key") {
			present = "key"
		}
		t.Complain(present, "a client certificate needs both cert and key", "name both files, or neither")
	}
	p.UnsignedVerbs = l.readVerbs(t, "unsigned_verbs")
	p.KeepAlive = t.Duration("keepalive", time.Minute, 5*time.Second, 18*time.Hour)

	dialect := l.build.Dialects[p.Dialect]
	for _, key := range dialect.Options {
		if !t.Has(key) {
			continue
		}
		if p.Options == nil {
			p.Options = map[string]string{}
		}
		p.Options[key] = t.Scalar(key)
	}
	t.Done(func(key string) string {
		if others := l.build.dialectsWith(key); len(others) > 0 {
			return fmt.Sprintf("this is a key of dialect %s, and here the dialect is %s", strings.Join(others, ", "), p.Dialect)
		}
		return ""
	})
	switch {
	case t.Failed():
	case dialect.Later:
		t.Warn("dialect", fmt.Sprintf("not in this build: dialect %q; nothing is sent to this platform", p.Dialect), "")
	default:
		l.config.Platforms = append(l.config.Platforms, p)
	}
}

// readServers reads the brokers' addresses and adds the port where it is left out.
func readServers(t *strict.Table) []string {
	const hint = `write servers = ["mqtt://host:1883"], or mqtts:// for TLS; several are tried in turn`
	if !t.Has("servers") {
		t.Missing("servers", hint)
		return nil
	}
	values := t.Values("servers")
	if len(values) == 0 && !t.Failed() {
		t.Complain("servers", "the list is empty", hint)
	}
	ports := map[string]string{"mqtt": "1883", "mqtts": "8883"}
	var servers []string
	open := "" // a server on another machine that is spoken to without TLS
	for _, v := range values {
		u, err := url.Parse(v.AsText())
		fault := ""
		switch {
		case err != nil || u.Opaque != "" || u.Scheme == "":
			fault = "this is no address of a server"
		case ports[u.Scheme] == "":
			fault = fmt.Sprintf("there is no scheme %q", u.Scheme)
		case u.User != nil:
			fault, v = "user and password do not stand here, but under username and secret", v.Hidden()
		case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
			fault = "nothing may follow the port"
		default:
			port := u.Port()
			if port == "" {
				port = ports[u.Scheme]
			}
			address := net.JoinHostPort(u.Hostname(), port)
			fault = hostPort(address, false)
			servers = append(servers, u.Scheme+"://"+address)
			if u.Scheme == "mqtt" && !local(u.Hostname()) {
				open = address
			}
		}
		if fault != "" {
			t.ComplainOf("servers", v, fault, hint)
		}
	}
	if open != "" && !t.Failed() {
		t.Warn("servers", "what goes to "+open+" can be read and altered on its way, the password too", "write mqtts:// and name the platform's ca")
	}
	return servers
}

// local says that a host is this machine: nothing leaves it on the way there.
func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// readCredential reads the name of a file in the credentials folder, or where a path may stand, an absolute path.
func readCredential(t *strict.Table, key string, path bool) string {
	name := t.Text(key)
	if name == "" || strict.GoodName(name) && name[0] != '.' || path && filepath.IsAbs(name) {
		return name
	}
	hint := "the name of a file in the credentials folder"
	if path {
		hint += ", or an absolute path"
	} else {
		hint += "; never the secret itself"
	}
	v, _ := t.Find(key)
	t.ComplainOf(key, v.Hidden(), "this is no name of a file", hint)
	return ""
}

// checkClients complains about two sessions that are in each other's way at the same server: with the same client id
// they would throw each other out for ever, with the same topics overwrite each other's state.
func (l *loader) checkClients() {
	for i, p := range l.config.Platforms {
		for _, q := range l.config.Platforms[:i] {
			shared := slices.ContainsFunc(p.Servers, func(s string) bool { return slices.Contains(q.Servers, s) })
			if shared && p.Client == q.Client {
				l.config.tables[tableKey{KindPlatform, p.Name}].Complain("client",
					fmt.Sprintf("platform %q uses the client id %q at the same server", q.Name, p.Client), "give each platform a client id of its own")
			}
			if shared && p.Dialect == q.Dialect && p.Prefix == q.Prefix {
				l.config.tables[tableKey{KindPlatform, p.Name}].Complain("prefix",
					fmt.Sprintf("platform %q publishes to the same topics at the same server", q.Name), "give each platform a prefix of its own")
			}
		}
	}
}
