package fieldtest

import (
	"errors"
	"testing"
	"time"

	"edgegateway/adapters/link"
	"edgegateway/adapters/link/linktest"
)

// TestLine holds the line in memory to the contract of every line.
func TestLine(t *testing.T) {
	for _, stream := range []bool{false, true} {
		linktest.Run(t, linktest.Fixture{Stream: stream, New: func(t *testing.T) (link.Line, linktest.Peer) {
			sent := make(chan []byte, 100)
			l := &Line{Stream: stream, Peer: func(request []byte) []Chunk {
				sent <- append([]byte(nil), request...)
				return nil
			}}
			return l, &peer{line: l, sent: sent}
		}})
	}
}

// peer is the far end, driven by the suite.
type peer struct {
	line *Line
	sent chan []byte
	got  []byte
}

func (p *peer) Receive(n int) ([]byte, error) {
	for len(p.got) < n {
		select {
		case b := <-p.sent:
			p.got = append(p.got, b...)
		case <-time.After(10 * time.Second):
			return nil, errors.New("nothing was sent")
		}
	}
	b := p.got[:n]
	p.got = p.got[n:]
	return b, nil
}

func (p *peer) Send(b []byte) error { p.line.Arrive(b); return nil }
func (p *peer) Vanish()             { p.line.Down(errors.New("unplugged")) }
func (p *peer) Return()             { p.line.Down(nil) }
