package identity

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"edgegateway/gatewayd/durable"
)

// Options say where the identity lives.
type Options struct {
	Dir  string // the folder, in the daemon's state
	Keys Keys   // nil for FileKeys in Dir
	Root string // of the machine's files; "/" when left out
}

// Store is the gateway's identity on flash. Its methods may be called from anywhere.
type Store struct {
	o      Options
	box    Box
	broken error         // why the record can't be read
	look   time.Duration // how often Run looks whether it is time
	work   sync.Mutex    // held while a certificate is asked for: one request at a time
	mu     sync.Mutex    // guards what follows; never held over the network
	record record
	handed int // the generation that the last connection was given
	tries  int // connections since the newest one came that it was not confirmed by
}

// record is what is noted. A generation is a key and its certificate.
type record struct {
	Gateway string `json:"gateway"`
	EST     string `json:"est"`
	Newest  int    `json:"newest"`            // 0 before the first
	Before  int    `json:"before,omitempty"`  // kept until a platform took the newest
	Pending int    `json:"pending,omitempty"` // a key without a certificate: it was asked for
	Ticket  string `json:"ticket,omitempty"`  // digest of the ticket that Pending is for
	Box     Box    `json:"box"`
}

const (
	recordFile = "identity.json"
	caFile     = "ca.pem"
	patience   = 3 // connections with a new certificate alone, before the old one is tried in turn
)

// What hinders the use of an identity.
var (
	ErrNone = errors.New("this gateway has no identity: run `gatewayd provision TICKET`")
	ErrCopy = errors.New("this is a copy of another gateway's flash: it must not appear as that one; run `gatewayd provision TICKET` with a ticket of its own")
)

// Open reads the identity. One that is not there yet, or can't be read, is told by Trouble.
func Open(o Options) *Store {
	if o.Keys == nil {
		o.Keys = FileKeys{o.Dir}
	}
	if o.Root == "" {
		o.Root = "/"
	}
	s := &Store{o: o, box: ReadBox(o.Root), look: renewLook}
	text, err := os.ReadFile(filepath.Join(o.Dir, recordFile))
	if err == nil {
		err = json.Unmarshal(text, &s.record)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.record, s.broken = record{}, fmt.Errorf("the identity can't be read: %w; `gatewayd provision TICKET` makes a new one", err)
	}
	return s
}

// usable says whether there is an identity, and it is this box's. The lock is held.
func (s *Store) usable() error {
	switch {
	case s.record.Newest == 0 && s.broken != nil:
		return s.broken
	case s.record.Newest == 0:
		return ErrNone
	case s.record.Box.copied(s.box):
		return fmt.Errorf("%w (it was %s)", ErrCopy, s.record.Gateway)
	}
	return nil
}

// Gateway is the name that the identity is for; "" for none.
func (s *Store) Gateway() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record.Gateway
}

// CA is the file with whom to trust: the platform's authority, from the ticket.
func (s *Store) CA() string { return filepath.Join(s.o.Dir, caFile) }

// Certificate gives what a connection presents. While a renewed certificate has not been taken by a platform, the one
// before is tried in turn after a few connections.
func (s *Store) Certificate() (tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return tls.Certificate{}, err
	}
	generation := s.record.Newest
	if s.record.Before != 0 {
		s.tries++
		if s.tries > patience && s.tries%2 == 0 {
			generation = s.record.Before
		}
	}
	cert, err := s.load(generation)
	if err != nil && s.record.Before != 0 {
		generation = s.record.Newest + s.record.Before - generation // the other one
		cert, err = s.load(generation)
	}
	s.handed = generation
	return cert, err
}

// Confirm says that a platform is connected that was shown a certificate. When it is the newest one, the one before is
// removed.
func (s *Store) Confirm(shown *x509.Certificate) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.record.Before == 0 {
		return nil
	}
	if newest, err := s.load(s.record.Newest); err != nil || !newest.Leaf.Equal(shown) {
		return err
	}
	old := s.record.Before
	s.record.Before, s.tries = 0, 0
	if err := s.save(); err != nil {
		return err
	}
	return s.forget(old)
}

// load reads a generation. The lock is held.
func (s *Store) load(generation int) (tls.Certificate, error) {
	key, err := s.o.Keys.Open(keyName(generation))
	if err != nil {
		return tls.Certificate{}, err
	}
	text, err := os.ReadFile(s.certPath(generation))
	if err != nil {
		return tls.Certificate{}, err
	}
	cert := tls.Certificate{PrivateKey: key}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		cert.Certificate = append(cert.Certificate, block.Bytes)
	}
	if len(cert.Certificate) == 0 {
		return cert, fmt.Errorf("%s holds no certificate", s.certPath(generation))
	}
	cert.Leaf, err = x509.ParseCertificate(cert.Certificate[0])
	return cert, err
}

func keyName(generation int) string { return fmt.Sprintf("key-%d", generation) }

func (s *Store) certPath(generation int) string {
	return filepath.Join(s.o.Dir, fmt.Sprintf("cert-%d.pem", generation))
}

// Provision makes the gateway the one that the ticket is for. It may be called again with the same ticket after it was
// cut short: the key is the same then, so the server can know the request again.
func (s *Store) Provision(ctx context.Context, t Ticket) (*x509.Certificate, error) {
	s.work.Lock()
	defer s.work.Unlock()
	url, err := t.endpoint()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.o.Dir, 0o700); err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(t.Gateway + "\x00" + t.EST + "\x00" + t.Secret))
	ticket := hex.EncodeToString(sum[:])
	client := &estClient{url: url, ca: []byte(t.CA), earliest: time.UnixMilli(t.Issued), user: t.Gateway, secret: t.Secret}
	cert, err := s.obtain(ctx, client, "simpleenroll", t.Gateway, ticket, later(time.Now(), client.earliest))
	if err != nil {
		return nil, err
	}
	if err := durable.WriteFile(s.CA(), []byte(t.CA), 0o644); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.record
	s.record = record{Gateway: t.Gateway, EST: url, Newest: old.Pending, Box: s.box}
	if err := s.save(); err != nil {
		return nil, err
	}
	for _, generation := range []int{old.Newest, old.Before} {
		if generation != 0 && generation != s.record.Newest {
			err = errors.Join(err, s.forget(generation))
		}
	}
	return cert, errors.Join(err, s.giveAway())
}

// obtain asks for a certificate for the pending key, which it makes if there is none for the ticket, and writes what
// comes beside it.
func (s *Store) obtain(ctx context.Context, client *estClient, operation, name, ticket string, now time.Time) (*x509.Certificate, error) {
	key, generation, err := s.pending(ticket)
	if err != nil {
		return nil, err
	}
	csr, err := request(name, key)
	if err != nil {
		return nil, err
	}
	certs, err := client.enroll(ctx, operation, csr)
	if err != nil {
		return nil, err
	}
	if certs, err = chain(certs, key.Public(), name, now); err != nil {
		return nil, err
	}
	var text []byte
	for _, c := range certs {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return certs[0], durable.WriteFile(s.certPath(generation), text, 0o644)
}

// pending gives the key that a ticket or renewal is for, and makes it at the first time.
func (s *Store) pending(ticket string) (crypto.Signer, int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &s.record
	if r.Pending != 0 && r.Ticket == ticket {
		if key, err := s.o.Keys.Open(keyName(r.Pending)); err == nil {
			return key, r.Pending, nil
		}
	}
	r.Pending, r.Ticket = max(r.Newest, r.Before, r.Pending)+1, ticket
	key, err := s.o.Keys.Create(keyName(r.Pending))
	if err == nil {
		err = s.save()
	}
	return key, r.Pending, err
}

func (s *Store) save() error {
	text, err := json.MarshalIndent(s.record, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(s.o.Dir, recordFile), append(text, '\n'), 0o600)
}

func (s *Store) forget(generation int) error {
	return errors.Join(s.o.Keys.Remove(keyName(generation)), durable.Remove(s.certPath(generation)))
}

// giveAway gives what root made to whom the state folder belongs: the daemon's user.
func (s *Store) giveAway() error {
	parent, err := os.Stat(filepath.Dir(s.o.Dir))
	if err != nil {
		return err
	}
	owner, ok := parent.Sys().(*syscall.Stat_t)
	if os.Geteuid() != 0 || !ok || owner.Uid == 0 {
		return nil
	}
	err = os.Chown(s.o.Dir, int(owner.Uid), int(owner.Gid))
	entries, e := os.ReadDir(s.o.Dir)
	err = errors.Join(err, e)
	for _, entry := range entries {
		err = errors.Join(err, os.Lchown(filepath.Join(s.o.Dir, entry.Name()), int(owner.Uid), int(owner.Gid)))
	}
	return err
}
