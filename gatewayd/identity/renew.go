package identity

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/gatewayd/command"
)

// Renewal says what the renewing part needs of the daemon.
type Renewal struct {
	Taken func() []*x509.Certificate // what the platforms that are connected were shown
	Event func(field.Event)
	Log   *slog.Logger
}

const (
	renewLook  = 10 * time.Second // how often it is looked at
	renewFirst = time.Minute      // between two tries
	renewMost  = 6 * time.Hour
)

// Run renews the certificate when two thirds of its life are over, and confirms it when a platform has taken it. It
// returns nil when the context ends. An identity that cannot be used is told once.
func (s *Store) Run(ctx context.Context, r Renewal) error {
	tick := time.NewTicker(s.look)
	defer tick.Stop()
	if err := s.Trouble(); err != nil && !errors.Is(err, ErrNone) {
		r.Log.Error("the identity can't be used", "error", err)
		r.Event(field.Event{Kind: "identity", Subject: s.Gateway(), Text: err.Error()})
	}
	wait, next, said := renewFirst, time.Time{}, ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, shown := range r.Taken() {
			if err := s.Confirm(shown); err != nil {
				r.Log.Warn("the renewed certificate can't be confirmed", "error", err)
			}
		}
		now := time.Now()
		if !s.due(now) || now.Before(next) {
			continue
		}
		cert, err := s.renew(ctx)
		switch later := (*waitError)(nil); {
		case err == nil:
			wait, next, said = renewFirst, time.Time{}, ""
			r.Event(field.Event{Kind: "identity", Subject: s.Gateway(), Text: "the certificate is renewed, until " + cert.NotAfter.UTC().Format(time.RFC3339)})
			continue
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &later):
			next = now.Add(later.after)
		default:
			next = now.Add(wait/2 + rand.N(wait/2))
			wait = min(2*wait, renewMost)
		}
		r.Log.Warn("the certificate can't be renewed yet", "error", err, "again_in", next.Sub(now).Round(time.Second))
		if text := err.Error(); text != said {
			said = text
			r.Event(field.Event{Kind: "identity", Subject: s.Gateway(), Text: fmt.Sprintf("the certificate, good until %s, can't be renewed yet: %s", s.Status().NotAfter, text)})
		}
	}
}

// due says whether it is time for another certificate. One that waits to be taken is not renewed again.
func (s *Store) due(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.usable() != nil {
		return false
	}
	cert, err := s.load(s.record.Newest)
	if err != nil {
		return false
	}
	life := cert.Leaf.NotAfter.Sub(cert.Leaf.NotBefore)
	if s.record.Before != 0 {
		return now.After(cert.Leaf.NotBefore.Add(life * 5 / 6)) // nobody took it for long, or nobody connected
	}
	return now.After(cert.Leaf.NotBefore.Add(life * 2 / 3))
}

// renew asks for a certificate for a new key, in the name of the one that there is.
func (s *Store) renew(ctx context.Context) (*x509.Certificate, error) {
	s.work.Lock()
	defer s.work.Unlock()
	s.mu.Lock()
	name, url := s.record.Gateway, s.record.EST
	current, err := s.load(s.record.Newest)
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if time.Now().After(current.Leaf.NotAfter) {
		return nil, errors.New("it has ended: the gateway needs a new ticket, `gatewayd provision TICKET`")
	}
	ca, err := os.ReadFile(s.CA())
	if err != nil {
		return nil, err
	}
	client := &estClient{url: url, ca: ca, earliest: current.Leaf.NotBefore, cert: &current}
	// The pending key belongs to this certificate's renewal, as it belonged to a ticket.
	cert, err := s.obtain(ctx, client, "simplereenroll", name, "renewal of "+current.Leaf.SerialNumber.String(), time.Now())
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.record
	s.record.Newest, s.record.Pending, s.record.Ticket = old.Pending, 0, ""
	s.record.Before = old.Newest
	if old.Before != 0 && s.handed == old.Before {
		s.record.Before = old.Before // that is the one that a platform takes
	}
	s.tries = 0
	if err := s.save(); err != nil {
		s.record = old
		return nil, err
	}
	for _, generation := range []int{old.Newest, old.Before} {
		if generation != 0 && generation != s.record.Before {
			err = errors.Join(err, s.forget(generation))
		}
	}
	return cert, err
}

// Trouble says why the identity can't be used, ErrNone when there is none, nil when all is well.
func (s *Store) Trouble() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	_, err := s.load(s.record.Newest)
	return err
}

// Status is what people are shown of the identity.
type Status struct {
	Gateway  string `json:"gateway,omitempty"`
	Issuer   string `json:"issuer,omitempty"`
	Serial   string `json:"serial,omitempty"`
	NotAfter string `json:"not_after,omitempty"` // RFC 3339
	Renew    string `json:"renew,omitempty"`     // when it will be
	Taken    bool   `json:"taken"`               // by a platform, since it was renewed
	Copy     bool   `json:"copy"`                // of another gateway's flash
	Trouble  string `json:"trouble,omitempty"`
}

// Status may be called from anywhere.
func (s *Store) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := Status{Gateway: s.record.Gateway, Taken: s.record.Before == 0}
	if err := s.usable(); err != nil {
		out.Trouble, out.Copy = err.Error(), errors.Is(err, ErrCopy)
		if errors.Is(err, ErrNone) {
			out.Taken = false
			return out
		}
	}
	cert, err := s.load(s.record.Newest)
	if err != nil {
		out.Trouble = err.Error()
		return out
	}
	life := cert.Leaf.NotAfter.Sub(cert.Leaf.NotBefore)
	out.Issuer, out.Serial = cert.Leaf.Issuer.CommonName, cert.Leaf.SerialNumber.Text(16)
	out.NotAfter = cert.Leaf.NotAfter.UTC().Format(time.RFC3339)
	out.Renew = cert.Leaf.NotBefore.Add(life * 2 / 3).UTC().Format(time.RFC3339)
	return out
}

// Verbs are the rows for the daemon's table.
func (s *Store) Verbs() []command.Verb {
	return []command.Verb{{Name: "identity", Level: command.Observe, Does: "the gateway's certificate, and whether this box is the one that it was given to",
		Run: func(_ context.Context, raw json.RawMessage) (any, error) {
			if err := command.Decode(raw, &struct{}{}); err != nil {
				return nil, err
			}
			return s.Status(), nil
		}}}
}
