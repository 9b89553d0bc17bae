package remote

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"edgegateway/gatewayd/health"
	"edgegateway/testbench/broker"
	"edgegateway/testbench/consumer"
	"edgegateway/testbench/rig"
	"edgegateway/testbench/sim/modbus"
)

var (
	rounds = flag.Int("rounds", 2, "how many rounds of each crash")
	full   = flag.Bool("full", false, "try every bad configuration, not only some")
)

const (
	gateway = "box"
	prefix  = "gw/" + gateway
	patient = 60 * time.Second // far more than anything here takes, also on a machine that is busy
)

// binary is the daemon, built once.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "remote-")
	if err != nil {
		return "", err
	}
	return rig.Build(context.Background(), dir)
})

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if path := built.Load(); path != nil {
		os.RemoveAll(filepath.Dir(*path))
	}
	os.Exit(code)
}

// built is where the binary is, once there is one.
var built atomic.Pointer[string]

// reply is an answer as the platform sees it.
type reply struct {
	ID, Verb, Code, Text string
	Result               json.RawMessage
}

// site is a gateway with a plant below it and a platform above.
type site struct {
	t      *testing.T
	plant  *rig.Plant
	broker *broker.Broker
	client *broker.Client
	daemon *rig.Daemon
	config string
	keys   map[string]ed25519.PrivateKey

	recorder *consumer.Recorder // keeps the books of all that comes

	mu      sync.Mutex
	records map[string]int // that came, by device
	replies []reply
	events  []map[string]any
}

func newSite(t *testing.T, clock string) *site {
	t.Helper()
	if testing.Short() {
		t.Skip("it builds and runs the daemon")
	}
	sources(t)
	path, err := binary()
	built.Store(&path)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, keys: map[string]ed25519.PrivateKey{}}
	dir := t.TempDir()
	if s.plant, err = rig.NewPlant(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.plant.Close)
	s.listen("platform")
	s.config = fmt.Sprintf("[gateway]\nname = %q\nclock = %q\n\n[platform]\nservers = [%q]\nunsigned_verbs = [\"status\"]\n\n[buffer]\nlimit = \"64MiB\"\n\n",
		gateway, clock, s.broker.URL())
	for name, verbs := range map[string]string{"control-room": `["status", "read", "write", "config", "device-add", "device-update", "device-remove", "drill", "cancel", "report", "trace", "profile", "discover"]`, "guest": `["read"]`} {
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		s.keys[name] = private
		der, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			t.Fatal(err)
		}
		s.config += fmt.Sprintf("[[operator]]\nname = %q\nkey = %q\nverbs = %s\n\n", name, base64.StdEncoding.EncodeToString(der), verbs)
	}
	s.config += s.plant.Lines(s.plant.Hosts())
	if s.daemon, err = rig.NewDaemon(path, filepath.Join(dir, "box"), s.config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.daemon.Kill()
		if t.Failed() {
			lines := strings.Split(s.daemon.Log(), "\n")
			t.Logf("the daemon's log, its end:\n%s", strings.Join(lines[max(0, len(lines)-60):], "\n"))
		}
	})
	return s
}

// listen makes the platform of that name, and takes what comes to it.
func (s *site) listen(name string) {
	s.t.Helper()
	s.records = map[string]int{}
	s.recorder = consumer.New(consumer.Options{Prefix: prefix, FromStart: true, Destination: name, Record: func(r consumer.Record) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.records[r.Device]++
	}})
	var err error
	if s.broker, err = broker.New(broker.Options{}); err != nil {
		s.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.broker.Run(ctx) }()
	s.t.Cleanup(func() { stop(); <-done })
	s.client, err = broker.Dial(s.t.Context(), broker.ClientOptions{Address: s.broker.Address(), ID: "control-room", Take: s.take})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { s.client.Close() })
	if err := s.client.Subscribe(s.t.Context(), prefix+"/#"); err != nil {
		s.t.Fatal(err)
	}
}

// also gives the gateway one more platform, before it is started, and shows the gateway as that one sees it.
func (s *site) also(name string) *site {
	s.t.Helper()
	other := &site{t: s.t, plant: s.plant, daemon: s.daemon, keys: s.keys}
	other.listen(name)
	s.config += fmt.Sprintf("[[also]]\nname = %q\nservers = [%q]\n\n", name, other.broker.URL())
	if err := s.daemon.Configure(s.config); err != nil {
		s.t.Fatal(err)
	}
	return other
}

// start runs the daemon until it is connected and the pump answers.
func (s *site) start() {
	s.t.Helper()
	if err := s.daemon.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.await("connected, and the pump is good", func(st *health.Status) bool {
		return len(st.Platforms) > 0 && st.Platforms[0].Connected && state(st, "pump-1") == "good"
	})
}

func (s *site) await(what string, ok func(*health.Status) bool) {
	s.t.Helper()
	if _, err := s.daemon.Await(s.t.Context(), patient, what, ok); err != nil {
		s.t.Fatal(err)
	}
}

func state(st *health.Status, device string) string {
	for _, d := range st.Devices {
		if d.Name == device {
			return d.State
		}
	}
	return ""
}

// take books what comes up.
func (s *site) take(m broker.Message) {
	if m.Topic != prefix+"/command" {
		s.recorder.Take(m.Topic, m.Payload, m.Retained)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch m.Topic {
	case prefix + "/reply":
		var r reply
		if err := json.Unmarshal(m.Payload, &r); err != nil {
			s.t.Errorf("a reply that is no JSON: %s", m.Payload)
		}
		s.replies = append(s.replies, r)
	case prefix + "/event":
		var batch struct{ Events []map[string]any }
		if err := json.Unmarshal(m.Payload, &batch); err != nil {
			s.t.Errorf("events that are no JSON: %s", m.Payload)
		}
		s.events = append(s.events, batch.Events...)
	}
}

// order is a command before it is signed.
type order struct {
	V       int    `json:"v"`
	ID      string `json:"id"`
	Gateway string `json:"gateway"`
	Verb    string `json:"verb"`
	Args    any    `json:"args,omitempty"`
	Issued  int64  `json:"issued"`
	Expires int64  `json:"expires"`
	Counter uint64 `json:"ctr,omitempty"`
}

func newOrder(id, verb string, args any) order {
	now := time.Now().UnixMilli()
	return order{V: 1, ID: id, Gateway: gateway, Verb: verb, Args: args, Issued: now, Expires: now + 300_000}
}

// setpoint is a write that the plant would carry out.
func setpoint(id string, value any) order {
	return newOrder(id, "write", map[string]any{"device": "pump-1", "tag": "setpoint", "value": value})
}

func plain(o order) []byte {
	b, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return b
}

// token signs as RFC 7515 and RFC 8037 say.
func token(key ed25519.PrivateKey, header string, payload []byte) []byte {
	signed := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString(payload)
	return []byte(signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(signed))))
}

func (s *site) sign(operator string, o order) []byte {
	return token(s.keys[operator], fmt.Sprintf(`{"alg":"EdDSA","kid":%q}`, operator), plain(o))
}

func (s *site) send(payload []byte, retained bool) {
	s.t.Helper()
	if err := s.client.Publish(s.t.Context(), prefix+"/command", payload, retained); err != nil {
		s.t.Fatal(err)
	}
}

// answers gives the replies to an id so far.
func (s *site) answers(id string) []reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []reply
	for _, r := range s.replies {
		if r.ID == id {
			all = append(all, r)
		}
	}
	return all
}

// answer waits for the n-th reply to an id.
func (s *site) answer(id string, n int) reply {
	s.t.Helper()
	var got []reply
	s.until("reply "+fmt.Sprint(n)+" to "+id, func() bool {
		got = s.answers(id)
		return len(got) >= n
	})
	return got[n-1]
}

func (s *site) until(what string, ok func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(patient)
	for !ok() {
		if time.Now().After(deadline) {
			s.t.Fatalf("not within %s: %s", patient, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// event says whether an event came that has all the words in its JSON.
func (s *site) event(words ...string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
next:
	for _, e := range s.events {
		b, _ := json.Marshal(e) // it came as JSON
		for _, w := range words {
			if !bytes.Contains(b, []byte(w)) {
				continue next
			}
		}
		return true
	}
	return false
}

// writes are what the pump was told to, in order.
func (s *site) writes() []modbus.Write { return s.plant.Controller.Unit(255).Writes() }

// sources looks at the files that the daemon is made of, so that go test knows its result to depend on them.
func sources(t *testing.T) {
	for _, dir := range []string{"adapters", "buffer", "gatewayd", "systemd"} {
		err := filepath.WalkDir(filepath.Join("..", "..", dir), func(path string, d fs.DirEntry, err error) error {
			if err == nil && (strings.HasSuffix(path, ".go") || strings.HasSuffix(path, ".toml")) {
				_, err = os.Stat(path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
