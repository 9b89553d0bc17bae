package update

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/gatewayd/command"
)

// badServer serves one content, in memory, with the faults of a bad link.
type badServer struct {
	mu       sync.Mutex
	content  []byte
	tag      string
	cutAfter int  // bytes of each answer; 0 for all
	stalls   bool // instead of a cut, nothing more comes
	noRange  bool
	status   int // instead of an answer
	served   int64
	requests int
}

func (s *badServer) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	resp := &http.Response{StatusCode: 200, Status: "200 OK", Header: http.Header{"Etag": {s.tag}}, Body: http.NoBody, Request: r}
	if s.status != 0 {
		resp.StatusCode, resp.Status = s.status, http.StatusText(s.status)
		return resp, nil
	}
	from := 0
	if rng := r.Header.Get("Range"); rng != "" && !s.noRange && (r.Header.Get("If-Range") == "" || r.Header.Get("If-Range") == s.tag) {
		if _, err := fmt.Sscanf(rng, "bytes=%d-", &from); err != nil {
			return nil, err
		}
		if from >= len(s.content) {
			resp.StatusCode = 416
			return resp, nil
		}
		resp.StatusCode = 206
		resp.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(s.content)-1, len(s.content)))
	}
	end := len(s.content)
	var tail io.Reader = bytes.NewReader(nil)
	if s.cutAfter > 0 && from+s.cutAfter < end {
		end = from + s.cutAfter
		tail = brokenTail{r.Context(), s.stalls}
	}
	s.served += int64(end - from)
	resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(s.content[from:end]), tail))
	return resp, nil
}

// brokenTail is how an answer ends on a bad link.
type brokenTail struct {
	ctx    context.Context
	stalls bool
}

func (b brokenTail) Read([]byte) (int, error) {
	if b.stalls {
		<-b.ctx.Done()
		return 0, b.ctx.Err()
	}
	return 0, errors.New("connection reset by peer")
}

// site is an agent's surroundings.
type site struct {
	t      *testing.T
	dir    string
	key    ed25519.PrivateKey
	server *badServer
	budget int64

	mu     sync.Mutex
	events []string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: inMemory(t), key: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), budget: 64 << 20}
	content := bytes.Repeat([]byte("the package of version 1.1 "), 120_000) // 3.2 MB
	s.server = &badServer{content: content, tag: `"a"`}
	writeKeys(t, filepath.Join(s.dir, "keys"), s.key)
	if err := errors.Join(os.Mkdir(filepath.Join(s.dir, "root"), 0o755),
		writeJSON(filepath.Join(s.dir, "root", heldFile), Package{Version: "1.0"}, 0o644)); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) agent() *Agent {
	s.t.Helper()
	a, err := NewAgent(AgentOptions{
		Dir: filepath.Join(s.dir, "inbox"), Updater: filepath.Join(s.dir, "root"), Keys: filepath.Join(s.dir, "keys"), Version: "1.0",
		Budget: s.budget, Client: &http.Client{Transport: s.server}, Log: slog.New(slog.DiscardHandler),
		Event: func(e field.Event) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.events = append(s.events, e.More[0].Value.AsText()+": "+e.Text)
		},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

func (s *site) told() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.events, "\n")
}

func (s *site) manifest() Manifest {
	m := manifest("1.1")
	m.Artifact = artifact(string(s.server.content))
	return m
}

func (s *site) exists(name string) bool {
	_, err := os.Stat(filepath.Join(s.dir, name))
	return err == nil
}

// start runs an agent; stop ends it, as the daemon does.
func start(a *Agent) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	return func() {
		cancel()
		<-done
	}
}

func ask(a *Agent, args any) command.Reply {
	raw, _ := json.Marshal(args)
	return command.NewTable("gw", func() int64 { return 0 }, a.Verbs()...).
		Do(context.Background(), command.Request{Verb: "update", Args: raw}, command.Admin)
}

// TestFetchOverABadLink holds that a package comes whole over a link that breaks, stalls, and forgets ranges; that
// each byte is fetched about once where the server lets us; and that it is handed over once.
func TestFetchOverABadLink(t *testing.T) {
	for _, c := range []struct {
		name   string
		spoil  func(*badServer)
		budget float64 // of the content's size, that may be taken
	}{
		{"good link", func(*badServer) {}, 1},
		{"breaks", func(b *badServer) { b.cutAfter = 100_000 }, 1},
		{"stalls", func(b *badServer) { b.cutAfter, b.stalls = 500_000, true }, 1},
		{"without tags", func(b *badServer) { b.cutAfter, b.tag = 300_000, "" }, 1},
		{"weak tags", func(b *badServer) { b.cutAfter, b.tag = 300_000, `W/"a"` }, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			c.spoil(s.server)
			synctest.Test(t, func(t *testing.T) {
				a := s.agent()
				stop := start(a)
				defer stop()
				if got := ask(a, Args{Manifest: signed(t, s.manifest(), s.key)}); got.Code != command.OK {
					t.Fatalf("%s: %s", got.Code, got.Text)
				}
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				got, err := os.ReadFile(filepath.Join(s.dir, "inbox", offerFile))
				if err != nil || !bytes.Equal(got, s.server.content) || !s.exists("inbox/"+requestFile) {
					t.Fatalf("%d of %d bytes, %v; told:\n%s", len(got), len(s.server.content), err, s.told())
				}
				if most := int64(c.budget * float64(len(s.server.content))); s.server.served > most {
					t.Errorf("%d bytes were served, want at most %d", s.server.served, most)
				}
				if n := strings.Count(s.told(), "handed over: version 1.1 is here"); n != 1 {
					t.Errorf("handed over %d times:\n%s", n, s.told())
				}
				if n := strings.Count(s.told(), "nobody takes the update"); n != 1 {
					t.Errorf("it is told %d times that no updater comes:\n%s", n, s.told())
				}
			})
		})
	}
}

// TestFetchGoesOnAfterARestart stops the daemon in the middle, and damages what was not yet synced.
func TestFetchGoesOnAfterARestart(t *testing.T) {
	s := newSite(t)
	s.server.cutAfter, s.server.stalls = 1_500_000, true
	synctest.Test(t, func(t *testing.T) {
		a := s.agent()
		stop := start(a)
		ask(a, Args{Manifest: signed(t, s.manifest(), s.key)})
		synctest.Wait() // it hangs in the stall
		stop()
		path := filepath.Join(s.dir, "inbox", offerFile)
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		have := s.agent().Status().Have
		if have < 1<<20 {
			t.Fatalf("only %d bytes are noted", have)
		}
		if _, err := f.WriteAt(make([]byte, 300_000), have); err != nil { // as the file system leaves a tail
			t.Fatal(err)
		}
		f.Close()
		s.server.cutAfter = 0
		b := s.agent()
		stop = start(b)
		defer stop()
		time.Sleep(time.Minute)
		synctest.Wait()
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, s.server.content) {
			t.Errorf("%d bytes, %v; told:\n%s", len(got), err, s.told())
		}
		if over := s.server.served - int64(len(s.server.content)); over > 1<<20 {
			t.Errorf("%d bytes were fetched twice", over)
		}
	})
}

// TestFetchKeepsTheBudget holds that a server which knows no ranges, on a link that breaks, does not eat the contract.
func TestFetchKeepsTheBudget(t *testing.T) {
	s := newSite(t)
	s.budget = 2 * int64(len(s.server.content))
	s.server.cutAfter, s.server.noRange = 2_000_000, true
	synctest.Test(t, func(t *testing.T) {
		a := s.agent()
		stop := start(a)
		defer stop()
		ask(a, Args{Manifest: signed(t, s.manifest(), s.key)})
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if got := a.Status(); got.Stage != "failed" || !strings.Contains(got.Why, "budget") || got.Spent > s.budget+32<<10 {
			t.Errorf("%+v", got)
		}
		if s.exists("inbox/" + requestFile) {
			t.Error("it was handed over all the same")
		}
	})
}

// TestFetchOfAnotherFile holds that what the manifest does not mean is never handed over.
func TestFetchOfAnotherFile(t *testing.T) {
	for name, spoil := range map[string]func(*badServer){
		"altered": func(b *badServer) { b.content[2_000_000]++ },
		"changed between parts": func(b *badServer) {
			b.content, b.tag = bytes.Repeat([]byte("another package "), 300_000), `"b"`
		},
		"gone": func(b *badServer) { b.status = 404 },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			m := s.manifest()
			synctest.Test(t, func(t *testing.T) {
				s.server.cutAfter = 1_100_000
				s.server.stalls = true
				a := s.agent()
				stop := start(a)
				defer stop()
				ask(a, Args{Manifest: signed(t, m, s.key)})
				synctest.Wait()
				s.server.mu.Lock()
				s.server.content = bytes.Clone(s.server.content)
				spoil(s.server)
				s.server.cutAfter = 0
				s.server.mu.Unlock()
				time.Sleep(time.Hour)
				synctest.Wait()
				if got := a.Status(); got.Stage != "failed" || s.exists("inbox/"+requestFile) {
					t.Errorf("%+v; told:\n%s", got, s.told())
				}
			})
		})
	}
}

func TestOrders(t *testing.T) {
	s := newSite(t)
	s.server.cutAfter, s.server.stalls = 1000, true
	synctest.Test(t, func(t *testing.T) {
		a := s.agent()
		stop := start(a)
		defer stop()
		good := signed(t, s.manifest(), s.key)
		same := s.manifest()
		same.Version = "1.0"
		next := s.manifest()
		next.Version = "1.2"
		large := s.manifest()
		large.Size = 65 << 20
		nowhere := s.manifest()
		nowhere.URL = "ftp://gateway.test/x"
		oneWay := s.manifest()
		oneWay.OneWay = true
		for _, c := range []struct {
			name string
			args any
			want command.Code
		}{
			{"one-way without a word", Args{Manifest: signed(t, oneWay, s.key)}, command.Refused},
			{"nothing", Args{}, command.Invalid},
			{"both", Args{Manifest: good, Cancel: true}, command.Invalid},
			{"unknown member", map[string]any{"url": "x"}, command.Invalid},
			{"no JWS", Args{Manifest: "hello"}, command.Refused},
			{"altered", Args{Manifest: good[:20] + "A" + good[21:]}, command.Refused},
			{"running already", Args{Manifest: signed(t, same, s.key)}, command.Refused},
			{"over the budget", Args{Manifest: signed(t, large, s.key)}, command.Refused},
			{"no URL", Args{Manifest: signed(t, nowhere, s.key)}, command.Refused},
			{"nothing to cancel", Args{Cancel: true}, command.Refused},
			{"good", Args{Manifest: good}, command.OK},
			{"again", Args{Manifest: good}, command.OK},
			{"another one", Args{Manifest: signed(t, next, s.key)}, command.Busy},
		} {
			if got := ask(a, c.args); got.Code != c.want {
				t.Errorf("%s: %s %s, want %s", c.name, got.Code, got.Text, c.want)
			}
			synctest.Wait()
		}
		if got := ask(a, Args{Cancel: true}); got.Code != command.OK {
			t.Errorf("cancel: %s %s", got.Code, got.Text)
		}
		synctest.Wait()
		if got := a.Status(); got.Stage != "failed" || s.exists("inbox/"+offerFile) || !strings.Contains(s.told(), "cancelled") {
			t.Errorf("after the cancel: %+v; told:\n%s", got, s.told())
		}
		s.server.mu.Lock()
		s.server.cutAfter = 0
		s.server.mu.Unlock()
		if got := ask(a, Args{Manifest: signed(t, next, s.key)}); got.Code != command.OK {
			t.Errorf("after the cancel: %s %s", got.Code, got.Text)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if !s.exists("inbox/" + requestFile) {
			t.Errorf("the next one is not handed over: %s", s.told())
		}
	})
}

// TestAHandOverThatFailsIsTold: whoever ordered it waits for an event.
func TestAHandOverThatFailsIsTold(t *testing.T) {
	s := newSite(t)
	synctest.Test(t, func(t *testing.T) {
		a := s.agent()
		if err := os.MkdirAll(filepath.Join(s.dir, "inbox", requestFile, "in the way"), 0o700); err != nil {
			t.Fatal(err)
		}
		defer start(a)()
		if got := ask(a, Args{Manifest: signed(t, s.manifest(), s.key)}); got.Code != command.OK {
			t.Fatalf("%s %s", got.Code, got.Text)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := a.Status(); got.Stage != "failed" || !strings.Contains(s.told(), "failed: the update could not be handed over") {
			t.Errorf("%+v; told:\n%s", got, s.told())
		}
	})
}

// TestStepsAreToldOnce has the updater take its steps, the daemon down for some of them.
func TestStepsAreToldOnce(t *testing.T) {
	s := newSite(t)
	root := filepath.Join(s.dir, "root")
	synctest.Test(t, func(t *testing.T) {
		a := s.agent()
		stop := start(a)
		ask(a, Args{Manifest: signed(t, s.manifest(), s.key)})
		time.Sleep(time.Second)
		synctest.Wait()
		request, err := os.ReadFile(filepath.Join(s.dir, "inbox", requestFile))
		if err != nil {
			t.Fatal(err)
		}
		digest := newDigest()
		_, _ = digest.Write(request)
		state := State{Request: digest.hex(), Version: "1.1", From: "1.0"}
		stage := func(to Stage) {
			state.Stage, state.T = to, time.Now().UnixMilli()
			if err := writeJSON(filepath.Join(root, stateFile), state, 0o644); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Second)
			synctest.Wait()
		}
		stage(Checked)
		stage(Installing)
		if got := ask(a, Args{Manifest: "x"}); got.Code == command.OK {
			t.Error("another order is taken while the updater works")
		}
		stop() // the daemon is replaced
		stage(Probation)
		stop = start(s.agent())
		time.Sleep(5 * time.Second)
		stop()
		state.Why = "it does not reach platform"
		stage(RolledBack)
		c := s.agent()
		stop = start(c)
		defer stop()
		time.Sleep(time.Minute)
		synctest.Wait()
		for _, want := range []string{"checked: ", "installing: ", "probation: ", "rolled-back: version 1.1 was no good, and 1.0 runs again: it does not reach platform"} {
			if n := strings.Count(s.told(), want); n != 1 {
				t.Errorf("%q is told %d times:\n%s", want, n, s.told())
			}
		}
		if got := c.Status(); got.Stage != string(RolledBack) || got.Why == "" || s.exists("inbox/"+offerFile) {
			t.Errorf("at the end: %+v", got)
		}
		// The same manifest may be ordered again: it is another request.
		if got := ask(c, Args{Manifest: signed(t, s.manifest(), s.key)}); got.Code != command.OK {
			t.Errorf("again: %s %s", got.Code, got.Text)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if again, err := os.ReadFile(filepath.Join(s.dir, "inbox", requestFile)); err != nil || bytes.Equal(again, request) {
			t.Errorf("the second order is not told from the first: %v", err)
		}
		if got, err := os.ReadFile(filepath.Join(s.dir, "inbox", offerFile)); err != nil || !bytes.Equal(got, s.server.content) {
			t.Errorf("the second order is handed over without its package: %d bytes, %v", len(got), err)
		}
	})
}

// TestFetchFromARealServer is the whole way over HTTP: the manifest by URL, the package by a relative one, with the
// standard library's idea of ranges.
func TestFetchFromARealServer(t *testing.T) {
	s := newSite(t)
	m := s.manifest()
	m.URL = "files/gatewayd_1.1.deb"
	var mu sync.Mutex
	var ranges []string
	mux := http.NewServeMux()
	mux.HandleFunc("/releases/1.1.jws", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, signed(t, m, s.key)+"\n") })
	mux.HandleFunc("/releases/files/gatewayd_1.1.deb", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		ranges = append(ranges, r.Header.Get("Range"))
		mu.Unlock()
		w.Header().Set("ETag", `"1.1"`)
		http.ServeContent(w, r, "x.deb", time.Time{}, bytes.NewReader(s.server.content))
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	a := s.agent()
	a.o.Client = server.Client()
	got := ask(a, Args{Manifest: server.URL + "/releases/1.1.jws"})
	if got.Code != command.OK {
		t.Fatalf("%s: %s", got.Code, got.Text)
	}
	// Half of it is here already, from before a restart.
	half := int64(len(s.server.content) / 2)
	a.job.Package.Have, a.job.Package.Tag = half, `"1.1"`
	if err := errors.Join(os.WriteFile(filepath.Join(s.dir, "inbox", offerFile), s.server.content[:half], 0o600), a.save()); err != nil {
		t.Fatal(err)
	}
	a.fetch(t.Context())
	text, err := os.ReadFile(filepath.Join(s.dir, "inbox", offerFile))
	if err != nil || !bytes.Equal(text, s.server.content) || !s.exists("inbox/"+requestFile) {
		t.Errorf("%d bytes, %v; told:\n%s", len(text), err, s.told())
	}
	if len(ranges) != 1 || ranges[0] != fmt.Sprintf("bytes=%d-", half) {
		t.Errorf("asked for %q", ranges)
	}
	if got := ask(a, Args{Manifest: server.URL + "/releases/none.jws"}); got.Code != command.Failed {
		t.Errorf("a manifest that is not there: %s %s", got.Code, got.Text)
	}
}
