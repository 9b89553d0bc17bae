package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"edgegateway/gatewayd/command"
)

// unreachableError says that no daemon answers on the control socket.
type unreachableError struct {
	socket string
	err    error
}

func (e *unreachableError) Error() string {
	hint := "is gatewayd running? `systemctl status gatewayd` tells; --runtime names another one's folder"
	if errors.Is(e.err, fs.ErrPermission) {
		hint = "you may not speak to it: use sudo, or join the group gatewayd"
	}
	return fmt.Sprintf("the daemon can't be reached at %s: %v\n    hint: %s", e.socket, e.err, hint)
}

// client speaks to the daemon's control socket.
func (c *cli) client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			conn, err := d.DialContext(ctx, "unix", c.socket())
			if err != nil {
				return nil, &unreachableError{c.socket(), err}
			}
			return conn, nil
		},
	}}
}

// call makes one request; into is filled from the JSON answer.
func (c *cli) call(ctx context.Context, method, path string, body, into any) error {
	answer, err := c.open(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer answer.Close()
	return json.NewDecoder(answer).Decode(into)
}

func (c *cli) open(ctx context.Context, method, path string, body any) (io.ReadCloser, error) {
	var send bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&send).Encode(body); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://gatewayd"+path, &send)
	if err != nil {
		return nil, err
	}
	resp, err := c.client().Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		return nil, fmt.Errorf("%s", bytes.TrimSpace(text))
	}
	return resp.Body, nil
}

// do runs a verb in the daemon. A reply other than ok is printed (with --json as it is) and is the answer no.
func (c *cli) do(verb string, args any, into any) error {
	raw, err := json.Marshal(args)
	if err != nil {
		return err
	}
	ctx, stop := interruptible()
	defer stop()
	var reply command.Reply
	if err := c.call(ctx, "POST", "/api/command", command.Request{V: 1, Verb: verb, Args: raw}, &reply); err != nil {
		return err
	}
	if c.json {
		return c.printReply(reply)
	}
	if reply.Code != command.OK {
		fmt.Fprintf(c.err, "gatewayd: %s: %s\n", reply.Code, reply.Text)
		return errNo
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(reply.Result, into)
}

func (c *cli) printReply(reply command.Reply) error {
	if err := c.printJSON(reply); err != nil {
		return err
	}
	if reply.Code != command.OK {
		return errNo
	}
	return nil
}

func (c *cli) printJSON(doc any) error {
	out := json.NewEncoder(c.out)
	out.SetIndent("", "  ")
	return out.Encode(doc)
}

// follow prints a stream until it ends or the user interrupts it: each document as it came with --json, else by show.
func (c *cli) follow(name string, query url.Values, show func(doc []byte) error) error {
	ctx, stop := interruptible()
	defer stop()
	stream, err := c.open(ctx, "GET", "/api/stream/"+name+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	defer stream.Close()
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		if c.json {
			if _, err := fmt.Fprintf(c.out, "%s\n", lines.Bytes()); err != nil {
				return err
			}
		} else if err := show(lines.Bytes()); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return lines.Err()
}

func interruptible() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
}
