package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/testbench/sim/est"
)

const secret = "a-secret-of-80-bits"

// server is an EST server that knows one gateway.
func server(t *testing.T) *est.Server {
	t.Helper()
	s, err := est.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	s.Secrets["gw-1"] = secret
	return s
}

func ticketOf(s *est.Server) Ticket {
	return Ticket{V: 1, Gateway: "gw-1", EST: s.URL(), CA: s.CA(), Secret: secret, Issued: time.Now().UnixMilli()}
}

// machine makes the files that a box is known by.
func machine(t *testing.T, files map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text+"\n"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func box(serial, mac string) map[string]string {
	return map[string]string{
		"etc/machine-id": "0123456789abcdef", "sys/firmware/devicetree/base/serial-number": serial + "\x00",
		"sys/class/net/eth0/address": mac, "sys/class/net/eth0/device/vendor": "x",
		"sys/class/net/docker0/address": "02:42:00:00:00:01", "sys/class/dmi/id/board_serial": "To be filled by O.E.M.",
	}
}

func open(t *testing.T, dir, root string) *Store {
	t.Helper()
	return Open(Options{Dir: dir, Root: root})
}

func TestProvision(t *testing.T) {
	srv, dir, root := server(t), filepath.Join(t.TempDir(), "identity"), machine(t, box("4711", "aa:bb"))
	s := open(t, dir, root)
	if _, err := s.Certificate(); !errors.Is(err, ErrNone) {
		t.Errorf("before: %v", err)
	}
	cert, err := s.Provision(t.Context(), ticketOf(srv))
	if err != nil {
		t.Fatal(err)
	}
	if cert.Subject.CommonName != "gw-1" || cert.SerialNumber.Int64() != 100 {
		t.Errorf("the certificate is %s, %s", cert.Subject, cert.SerialNumber)
	}
	s = open(t, dir, root)
	pair, err := s.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	if key, ok := pair.PrivateKey.(*ecdsa.PrivateKey); !ok || !key.PublicKey.Equal(pair.Leaf.PublicKey) || len(pair.Certificate) != 2 {
		t.Errorf("the pair: %T, %d certificates", pair.PrivateKey, len(pair.Certificate))
	}
	info, err := os.Stat(filepath.Join(dir, "key-1.pem"))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("the key's file: %v, %v", info.Mode(), err)
	}
	if got := s.Status(); got.Gateway != "gw-1" || got.Issuer != "test authority" || !got.Taken || got.Trouble != "" {
		t.Errorf("status %+v", got)
	}
	if err := os.Chmod(filepath.Join(dir, "key-1.pem"), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Certificate(); err == nil || !strings.Contains(err.Error(), "read by others") {
		t.Errorf("a key that a group can read: %v", err)
	}
	// A record that the flash spoilt is told, and can be replaced.
	if err := os.WriteFile(filepath.Join(dir, recordFile), make([]byte, 40), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := open(t, dir, root).Trouble(); err == nil || !strings.Contains(err.Error(), "can't be read") {
		t.Errorf("a spoilt record: %v", err)
	}
	// The ticket was used up.
	if _, err := open(t, dir+"-2", root).Provision(t.Context(), ticketOf(srv)); !errors.Is(err, errDenied) || !strings.Contains(err.Error(), "used already") {
		t.Errorf("the ticket a second time: %v", err)
	}
}

// TestProvisionIsRefused holds that nothing is kept of an enrollment that is not right.
func TestProvisionIsRefused(t *testing.T) {
	other := server(t)
	for _, c := range []struct {
		name  string
		spoil func(*est.Server, *Ticket)
		want  string
	}{
		{"wrong secret", func(_ *est.Server, k *Ticket) { k.Secret = "another-secret-of-80-bits" }, "secret is wrong"},
		{"wrong name", func(_ *est.Server, k *Ticket) { k.Gateway = "gw-2" }, "refuses"},
		{"another authority", func(_ *est.Server, k *Ticket) { k.CA = other.CA() }, "unknown authority"},
		{"server down", func(s *est.Server, _ *Ticket) { s.Close() }, "can't be reached"},
		{"500", func(s *est.Server, _ *Ticket) { s.Fault = "500" }, "database is down"},
		{"another key", func(s *est.Server, _ *Ticket) { s.Fault = "another key" }, "no certificate for our key"},
		{"another name", func(s *est.Server, _ *Ticket) { s.Fault = "another name" }, `for "somebody-else"`},
		{"garbage", func(s *est.Server, _ *Ticket) { s.Fault = "garbage" }, "no CMS"},
		{"nothing", func(s *est.Server, _ *Ticket) { s.Fault = "nothing" }, "no CMS"},
		{"must wait", func(s *est.Server, _ *Ticket) { s.Wait = 1 }, "come back in 5s"},
		{"over", func(s *est.Server, _ *Ticket) { s.Born = 2 * time.Hour }, "ended"},
		{"no https", func(_ *est.Server, k *Ticket) { k.EST = strings.Replace(k.EST, "https", "http", 1) }, "https URL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := server(t)
			ticket := ticketOf(srv)
			c.spoil(srv, &ticket)
			dir := filepath.Join(t.TempDir(), "identity")
			s := open(t, dir, machine(t, box("1", "a")))
			if _, err := s.Provision(t.Context(), ticket); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v; want %q", err, c.want)
			}
			if _, err := s.Certificate(); !errors.Is(err, ErrNone) {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// TestProvisionAgain holds that what was cut short after the server had spent the secret is mended by the same ticket.
func TestProvisionAgain(t *testing.T) {
	srv, dir, root := server(t), filepath.Join(t.TempDir(), "identity"), machine(t, box("4711", "aa:bb"))
	srv.Fault = "nothing" // the answer is lost
	if _, err := open(t, dir, root).Provision(t.Context(), ticketOf(srv)); err == nil {
		t.Fatal("an answer that is lost is taken")
	}
	srv.Fault = ""
	s := open(t, dir, root)
	if _, err := s.Provision(t.Context(), ticketOf(srv)); err != nil {
		t.Fatalf("again: %v", err)
	}
	if _, err := s.Certificate(); err != nil {
		t.Error(err)
	}
}

// TestCopies holds a copied flash against another box.
func TestCopies(t *testing.T) {
	srv, dir := server(t), filepath.Join(t.TempDir(), "identity")
	if _, err := open(t, dir, machine(t, box("4711", "aa:bb"))).Provision(t.Context(), ticketOf(srv)); err != nil {
		t.Fatal(err)
	}
	exchanged := box("4711", "cc:dd")
	renamed := box("4711", "aa:bb")
	renamed["etc/machine-id"] = "fedcba9876543210"
	for _, c := range []struct {
		name  string
		files map[string]string
		copy  bool
	}{
		{"the box", box("4711", "aa:bb"), false},
		{"its network part exchanged", exchanged, false},
		{"set up anew", renamed, false},
		{"another box", box("4712", "cc:dd"), true},
		{"a box that says nothing", map[string]string{"etc/machine-id": "0123456789abcdef"}, false},
		{"a box that says nothing, with an id of its own", map[string]string{"etc/machine-id": "fedcba9876543210"}, true},
		{"a box that says nothing at all", nil, false},
	} {
		s := open(t, dir, machine(t, c.files))
		_, err := s.Certificate()
		if errors.Is(err, ErrCopy) != c.copy || !c.copy && err != nil || s.Status().Copy != c.copy {
			t.Errorf("%s: %v; want a copy: %v", c.name, err, c.copy)
		}
	}
	// The copy is told, and becomes a gateway of its own with a ticket of its own.
	srv.Secrets["gw-2"] = "another-secret-of-80-bits"
	ticket := ticketOf(srv)
	ticket.Gateway, ticket.Secret = "gw-2", "another-secret-of-80-bits"
	s := open(t, dir, machine(t, box("4712", "cc:dd")))
	events := run(t, s, nil)
	if got := events(); !strings.Contains(got, "copy of another gateway's flash") || !strings.Contains(got, "gw-1") {
		t.Errorf("told: %q", got)
	}
	if _, err := s.Provision(t.Context(), ticket); err != nil {
		t.Fatal(err)
	}
	if pair, err := s.Certificate(); err != nil || pair.Leaf.Subject.CommonName != "gw-2" {
		t.Errorf("its own: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "key-1.pem")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the copied key is still there: %v", err)
	}
}

// run runs the renewing part until the first event, or until the test ends.
func run(t *testing.T, s *Store, taken func() []*x509.Certificate) (events func() string) {
	t.Helper()
	var mu sync.Mutex
	var told []string
	first := make(chan struct{}, 100)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	if taken == nil {
		taken = func() []*x509.Certificate { return nil }
	}
	go func() {
		done <- s.Run(ctx, Renewal{Taken: taken, Log: slog.New(slog.DiscardHandler), Event: func(e field.Event) {
			mu.Lock()
			told = append(told, e.Text)
			mu.Unlock()
			first <- struct{}{}
		}})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-first
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(told, "\n")
	}
}

// TestRenewal walks a certificate through its life, by the steps that Run takes.
func TestRenewal(t *testing.T) {
	srv, dir, root := server(t), filepath.Join(t.TempDir(), "identity"), machine(t, box("4711", "aa:bb"))
	srv.Life, srv.Born = 3*time.Hour, time.Hour+30*time.Minute
	s := open(t, dir, root)
	if _, err := s.Provision(t.Context(), ticketOf(srv)); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if s.due(now) || !s.due(now.Add(31*time.Minute)) {
		t.Error("it is not due at two thirds of its life")
	}
	first := serial(t, s)
	if _, err := s.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := srv.Asked; len(got) != 2 || got[1] != "simplereenroll" {
		t.Errorf("asked for %q", got)
	}
	s = open(t, dir, root) // the daemon is restarted before anybody connected
	second := serial(t, s)
	if second == first {
		t.Error("the new certificate is not tried")
	}
	if s.Status().Taken {
		t.Error("nobody has taken it yet")
	}
	// A platform that does not take the new one gets the old one in turn.
	seen := map[string]int{}
	for range 9 {
		seen[serial(t, s)]++
	}
	if seen[first] < 2 || seen[second] < 4 {
		t.Errorf("tried: %v", seen)
	}
	old := shown(t, s, first)
	shown(t, s, second) // to another platform, which does not take it
	if err := s.Confirm(old); err != nil || s.Status().Taken {
		t.Errorf("a connection with the old one confirms the new one (%v)", err)
	}
	if err := s.Confirm(shown(t, s, second)); err != nil || !s.Status().Taken {
		t.Errorf("not confirmed: %v", err)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*-1.pem")); len(files) > 0 {
		t.Errorf("left of the old one: %q", files)
	}
	for range 5 {
		if got := serial(t, s); got != second {
			t.Errorf("after that it presents %s", got)
		}
	}
}

// leaf is the certificate that the next connection is given.
func leaf(t *testing.T, s *Store) *x509.Certificate {
	t.Helper()
	pair, err := s.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

func serial(t *testing.T, s *Store) string {
	t.Helper()
	return leaf(t, s).SerialNumber.String()
}

// shown makes connections until one is given the certificate with the serial number.
func shown(t *testing.T, s *Store, serial string) *x509.Certificate {
	t.Helper()
	for {
		if c := leaf(t, s); c.SerialNumber.String() == serial {
			return c
		}
	}
}

// TestRenewalByItself holds that Run renews, and says so.
func TestRenewalByItself(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the timer")
	}
	srv, dir := server(t), filepath.Join(t.TempDir(), "identity")
	srv.Life, srv.Born = 3*time.Hour, 2*time.Hour+30*time.Minute
	s := open(t, dir, machine(t, box("4711", "aa:bb")))
	if _, err := s.Provision(t.Context(), ticketOf(srv)); err != nil {
		t.Fatal(err)
	}
	srv.Lock()
	srv.Born = 0
	srv.Unlock()
	s.look = 20 * time.Millisecond
	events := run(t, s, func() []*x509.Certificate { return []*x509.Certificate{leaf(t, s)} })
	if !strings.Contains(events(), "renewed, until") {
		t.Errorf("told: %s", events())
	}
	if s.due(time.Now()) {
		t.Error("it is due again")
	}
}

func TestRenewalThatFails(t *testing.T) {
	srv, dir := server(t), filepath.Join(t.TempDir(), "identity")
	srv.Life, srv.Born = 3*time.Hour, 2*time.Hour+30*time.Minute
	s := open(t, dir, machine(t, box("4711", "aa:bb")))
	if _, err := s.Provision(t.Context(), ticketOf(srv)); err != nil {
		t.Fatal(err)
	}
	first := serial(t, s)
	srv.Lock()
	srv.Fault = "500"
	srv.Unlock()
	s.look = 20 * time.Millisecond
	events := run(t, s, nil)
	if !strings.Contains(events(), "can't be renewed yet") || !strings.Contains(events(), "database is down") {
		t.Errorf("told: %s", events())
	}
	if serial(t, s) != first || s.record.Pending == 0 {
		t.Error("a failed renewal changed what is presented")
	}
	// The key that was asked for is asked for again, so that a server which gave a certificate whose answer was lost
	// sees the same request.
	pending := s.record.Pending
	srv.Lock()
	srv.Fault = ""
	srv.Unlock()
	if _, err := s.renew(t.Context()); err != nil || s.record.Newest != pending {
		t.Errorf("again: %v, generation %d, want %d", err, s.record.Newest, pending)
	}
}

// TestMutualTLS holds that the identity is one that a TLS server takes.
func TestMutualTLS(t *testing.T) {
	srv, dir := server(t), filepath.Join(t.TempDir(), "identity")
	s := open(t, dir, machine(t, box("4711", "aa:bb")))
	if _, err := s.Provision(t.Context(), ticketOf(srv)); err != nil {
		t.Fatal(err)
	}
	side, err := srv.TLS()
	if err != nil {
		t.Fatal(err)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", side)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	peer := make(chan string, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			peer <- err.Error()
			return
		}
		defer conn.Close()
		if err := conn.(*tls.Conn).Handshake(); err != nil {
			peer <- err.Error()
			return
		}
		peer <- conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName
	}()
	pair, err := s.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{RootCAs: srv.Pool(), Certificates: []tls.Certificate{pair}, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := <-peer; got != "gw-1" {
		t.Errorf("the server sees %q", got)
	}
}

// TestClockThatIsBehind holds that a box without a clock can be provisioned: the ticket says what time it is at least.
func TestClockThatIsBehind(t *testing.T) {
	srv := server(t)
	for ahead, want := range map[time.Duration]string{0: "", 2 * 366 * 24 * time.Hour: "expired"} {
		s := open(t, filepath.Join(t.TempDir(), "identity"), machine(t, box("4711", "aa:bb")))
		ticket := ticketOf(srv)
		ticket.Issued = time.Now().Add(ahead).UnixMilli() // as if the clock were so far behind
		_, err := s.Provision(t.Context(), ticket)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("with a clock %s behind the ticket: %v; want %q: the server's certificate ends in a year", ahead, err, want)
		}
	}
}

func TestTickets(t *testing.T) {
	srv := server(t)
	good := ticketOf(srv)
	for _, c := range []struct {
		name  string
		spoil func(map[string]any)
		want  string // "" for none
	}{
		{"good", func(map[string]any) {}, ""},
		{"with servers", func(m map[string]any) { m["servers"] = []string{"mqtts://broker"} }, ""},
		{"unknown member", func(m map[string]any) { m["token"] = 1 }, "token"},
		{"form", func(m map[string]any) { m["v"] = 2 }, "form 2"},
		{"name", func(m map[string]any) { m["gateway"] = "a/b" }, "allowed are"},
		{"no name", func(m map[string]any) { delete(m, "gateway") }, "allowed are"},
		{"plain http", func(m map[string]any) { m["est"] = "http://x" }, "https URL"},
		{"no authority", func(m map[string]any) { m["ca"] = "x" }, "no PEM"},
		{"short secret", func(m map[string]any) { m["secret"] = "1234" }, "at least 14"},
		{"over", func(m map[string]any) { m["expires"] = 1000 }, "good until 1970"},
	} {
		raw, err := json.Marshal(good)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
		c.spoil(m)
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "ticket.json")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadTicket(path); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", c.name, err, c.want)
		}
	}
	if _, err := ReadTicket(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
