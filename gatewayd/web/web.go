// Package web is the local side of the daemon: the control socket that the command line speaks to, and the same API
// at the local page's address, with the metrics.
//
// It promises that what comes over TCP can look but not touch: only verbs and streams of command.Observe are run there,
// and only for requests that name this machine (so that a web page elsewhere cannot speak through the installer's
// browser); and that it takes a bounded number of connections, whoever makes them.
// The Unix socket is guarded by its file mode and may do all. A caller may not assume that a stream is complete: a
// reader who is too slow misses lines.
//
//	GET  /                     the status as text
//	GET  /api/status           the status as JSON (health.Status)
//	POST /api/command          {"verb":…,"args":{…}} → the reply of the contract
//	GET  /api/verbs            what can be asked for
//	GET  /api/stream/{name}    one JSON document a line, until the client goes away
//	GET  /metrics              Prometheus text
package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/netutil"

	"edgegateway/gatewayd/command"
	"edgegateway/gatewayd/health"
)

// Stream is what can be followed: Send emits documents until the context ends, emit fails, or there is nothing more.
type Stream struct {
	Level command.Level // how much it can do
	Send  func(ctx context.Context, query url.Values, emit func(any) error) error
}

// Options says what the server shows.
type Options struct {
	Status  func() health.Status
	Verbs   []command.Verb
	Do      func(ctx context.Context, r command.Request, allowed command.Level) command.Reply
	Streams map[string]Stream
	Log     *slog.Logger
}

// Server serves the API on the listeners that it is given.
type Server struct {
	opts  Options
	paths *http.ServeMux
}

// New makes a server; nothing listens before Run.
func New(opts Options) *Server {
	s := &Server{opts: opts, paths: http.NewServeMux()}
	s.paths.HandleFunc("GET /{$}", s.text)
	s.paths.HandleFunc("GET /api/status", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, opts.Status()) })
	s.paths.HandleFunc("GET /api/verbs", s.verbs)
	s.paths.HandleFunc("POST /api/command", s.command)
	s.paths.HandleFunc("GET /api/stream/{name}", s.stream)
	s.paths.Handle("GET /metrics", health.Metrics(opts.Status))
	return s
}

type levelKey struct{}

func levelOf(r *http.Request) command.Level {
	level, _ := r.Context().Value(levelKey{}).(command.Level)
	return level
}

// pageConnections is how many connections an address of the page has at once; others wait. Each costs a descriptor, of
// which the lines, the store and the uplinks need some, too, and what its request takes of the memory.
const pageConnections = 32

// Run serves until the context ends: local (a Unix socket) may do everything, the pages (TCP) may look. Requests in
// progress get a second to end.
func (s *Server) Run(ctx context.Context, local net.Listener, pages ...net.Listener) error {
	errs := make(chan error, 1+len(pages))
	running := 0
	var servers []*http.Server
	serve := func(l net.Listener, level command.Level, h http.Handler) {
		// The requests' context is the daemon's, so that streams end when it stops.
		srv := &http.Server{
			Handler:           h,
			ReadHeaderTimeout: 5 * time.Second,
			IdleTimeout:       time.Minute,
			MaxHeaderBytes:    16 << 10,
			ErrorLog:          slog.NewLogLogger(s.opts.Log.Handler(), slog.LevelDebug),
			BaseContext:       func(net.Listener) context.Context { return context.WithValue(ctx, levelKey{}, level) },
		}
		servers = append(servers, srv)
		running++
		go func() { errs <- srv.Serve(l) }()
	}
	serve(local, command.Admin, s.paths)
	for _, page := range pages {
		serve(netutil.LimitListener(page, pageConnections), command.Observe, fromHere(s.paths))
	}
	var failed error
	select {
	case <-ctx.Done():
	case failed = <-errs:
		running--
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	for _, srv := range servers {
		if srv.Shutdown(end) != nil {
			failed = errors.Join(failed, srv.Close())
		}
	}
	for ; running > 0; running-- {
		<-errs
	}
	if errors.Is(failed, http.ErrServerClosed) {
		return nil
	}
	return failed
}

// fromHere refuses requests that a page of another site may have sent: those that name a host other than an address
// or localhost (DNS rebinding), or that carry the Origin of another page.
func fromHere(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		origin := r.Header.Get("Origin")
		if net.ParseIP(strings.Trim(host, "[]")) == nil && host != "localhost" || origin != "" && origin != "http://"+r.Host {
			http.Error(w, "ask for this page by the gateway's address", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) text(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	st := s.opts.Status()
	st.Print(w)
}

// VerbLine is one row of /api/verbs.
type VerbLine struct {
	Name  string `json:"name"`
	Args  string `json:"args"`
	Level string `json:"level"` // how much it can do: observe, operate, configure, admin
	Does  string `json:"does"`
}

func (s *Server) verbs(w http.ResponseWriter, _ *http.Request) {
	lines := []VerbLine{}
	for _, v := range s.opts.Verbs {
		lines = append(lines, VerbLine{v.Name, v.Args, v.Level.String(), v.Does})
	}
	writeJSON(w, lines)
}

// maxRequest bounds a command: a few values, never a file.
const maxRequest = 64 << 10

func (s *Server) command(w http.ResponseWriter, r *http.Request) {
	var req command.Request
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&req); err != nil {
		http.Error(w, "the command is no JSON object: "+err.Error(), http.StatusBadRequest)
		return
	}
	writeJSON(w, s.opts.Do(r.Context(), req, levelOf(r)))
}

func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	stream, ok := s.opts.Streams[r.PathValue("name")]
	if !ok {
		http.Error(w, fmt.Sprintf("there is no stream %q", r.PathValue("name")), http.StatusNotFound)
		return
	}
	if stream.Level > levelOf(r) {
		http.Error(w, fmt.Sprintf("%s is not allowed here; use the command line on the gateway", r.PathValue("name")), http.StatusForbidden)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := json.NewEncoder(w)
	flush := http.NewResponseController(w)
	begun := false
	err := stream.Send(r.Context(), r.URL.Query(), func(doc any) error {
		begun = true
		if err := out.Encode(doc); err != nil {
			return err
		}
		return flush.Flush()
	})
	switch {
	case err == nil || r.Context().Err() != nil:
	case !begun:
		http.Error(w, err.Error(), http.StatusBadRequest)
	default:
		// The status line is gone; an end without the last chunk tells the client that something was cut short.
		s.opts.Log.Debug("stream ended early", "stream", r.PathValue("name"), "error", err)
		panic(http.ErrAbortHandler)
	}
}

func writeJSON(w http.ResponseWriter, doc any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(doc) // a client that went away is nobody's fault
}
