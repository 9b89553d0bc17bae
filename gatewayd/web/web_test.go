package web_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgegateway/gatewayd/command"
	"edgegateway/gatewayd/health"
	"edgegateway/gatewayd/web"
)

// serve runs a server on a real socket of each kind and gives the page's address and a client of the socket.
func serve(t *testing.T) (page string, local *http.Client) {
	t.Helper()
	status := func() health.Status {
		return health.Status{Gateway: "gw1", Version: "test", Platforms: []health.Platform{{Name: "platform",
			Books: []health.Books{{Class: "readings", Taken: 5, Delivered: 3, Buffered: 1, Lost: 1}}}}}
	}
	table := command.NewTable("gw1", func() int64 { return 1763925256123 },
		command.Verb{Name: "look", Run: func(context.Context, json.RawMessage) (any, error) { return "seen", nil }},
		command.Verb{Name: "touch", Level: command.Operate, Run: func(context.Context, json.RawMessage) (any, error) { return "moved", nil }})
	server := web.New(web.Options{Status: status, Verbs: table.Verbs(), Do: table.Do, Log: slog.New(slog.DiscardHandler), Streams: map[string]web.Stream{
		"count": {Send: func(ctx context.Context, q url.Values, emit func(any) error) error {
			for i := range 3 {
				if err := emit(i); err != nil {
					return err
				}
			}
			<-ctx.Done()
			return nil
		}},
		"broken": {Send: func(context.Context, url.Values, func(any) error) error { return io.ErrUnexpectedEOF }},
		"search": {Level: command.Operate, Send: func(_ context.Context, _ url.Values, emit func(any) error) error { return emit("found") }},
	}})
	socket := filepath.Join(t.TempDir(), "control.sock")
	unix, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx, unix, tcp) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run ended with %v", err)
		}
	})
	return "http://" + tcp.Addr().String(), &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		}}}
}

func do(t *testing.T, c *http.Client, method, url, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestThePageLooksAndTheSocketTouches(t *testing.T) {
	page, local := serve(t)
	over := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, c := range []struct {
		client *http.Client
		base   string
		verb   string
		want   command.Code
	}{
		{over, page, "look", command.OK}, {over, page, "touch", command.Unauthorized},
		{local, "http://gatewayd", "look", command.OK}, {local, "http://gatewayd", "touch", command.OK},
		{local, "http://gatewayd", "dance", command.UnknownVerb},
	} {
		_, body := do(t, c.client, "POST", c.base+"/api/command", `{"verb":"`+c.verb+`"}`)
		var reply command.Reply
		if err := json.Unmarshal([]byte(body), &reply); err != nil || reply.Code != c.want {
			t.Errorf("%s at %s: %s, want %s", c.verb, c.base, body, c.want)
		}
	}
}

func TestAForeignPageGetsNothing(t *testing.T) {
	page, _ := serve(t)
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if code, _ := do(t, c, "GET", page+"/api/status", "", "Host", "evil.example"); code != http.StatusForbidden {
		t.Errorf("a rebound host name got %d", code)
	}
	if code, _ := do(t, c, "GET", page+"/api/status", "", "Origin", "http://evil.example"); code != http.StatusForbidden {
		t.Errorf("a foreign origin got %d", code)
	}
	if code, _ := do(t, c, "GET", page+"/api/status", ""); code != http.StatusOK {
		t.Errorf("an ordinary request got %d", code)
	}
}

func TestMetricsAndText(t *testing.T) {
	page, _ := serve(t)
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	_, metrics := do(t, c, "GET", page+"/metrics", "")
	for _, line := range strings.Split(metrics, "\n") {
		if line != "" && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "gatewayd_") {
			t.Errorf("a metric of another name: %s", line)
		}
	}
	if want := `gatewayd_records_delivered{class="readings",platform="platform"} 3`; !strings.Contains(metrics, want) {
		t.Errorf("no line %s in\n%s", want, metrics)
	}
	if _, text := do(t, c, "GET", page+"/", ""); !strings.Contains(text, "all is well") {
		t.Errorf("the text page: %s", text)
	}
}

func TestStreams(t *testing.T) {
	_, local := serve(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	req, _ := http.NewRequestWithContext(ctx, "GET", "http://gatewayd/api/stream/count", nil)
	resp, err := local.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for _, want := range []string{"0", "1", "2"} {
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("got %q, want %s", lines.Text(), want)
		}
	}
	if code, body := do(t, local, "GET", "http://gatewayd/api/stream/broken", ""); code != http.StatusBadRequest || body == "" {
		t.Errorf("a stream that fails at once: %d %q", code, body)
	}
	if code, _ := do(t, local, "GET", "http://gatewayd/api/stream/none", ""); code != http.StatusNotFound {
		t.Errorf("no such stream: %d", code)
	}
}

func TestAStreamThatTouchesIsTheSocketsAlone(t *testing.T) {
	page, local := serve(t)
	over := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if code, body := do(t, over, "GET", page+"/api/stream/search", ""); code != http.StatusForbidden || strings.Contains(body, "found") {
		t.Errorf("over the page: %d %q", code, body)
	}
	if code, body := do(t, local, "GET", "http://gatewayd/api/stream/search", ""); code != http.StatusOK || !strings.Contains(body, "found") {
		t.Errorf("over the socket: %d %q", code, body)
	}
}

// Whoever reaches the page could else take the descriptors that the lines and the uplinks need.
func TestThePageTakesABoundedNumberOfConnections(t *testing.T) {
	page, local := serve(t)
	answered := func(c net.Conn, r *bufio.Reader) bool {
		if err := c.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
			t.Fatal(err)
		}
		line, _ := r.ReadString('\n')
		return strings.HasPrefix(line, "HTTP/1.1 200")
	}
	var held []net.Conn
	for len(held) < 200 {
		c, err := net.Dial("tcp", strings.TrimPrefix(page, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := io.WriteString(c, "GET /api/stream/count HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(c)
		if answered(c, r) {
			held = append(held, c)
			continue
		}
		if code, _ := do(t, local, "GET", "http://gatewayd/api/status", ""); code != http.StatusOK {
			t.Errorf("the control socket answers %d meanwhile", code)
		}
		held[0].Close()
		if !answered(c, r) {
			t.Error("nobody is served in the place of who left")
		}
		return
	}
	t.Errorf("%d connections are served at once", len(held))
}
