package uplink

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"edgegateway/buffer"
)

// authority signs certificates for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	key := newKey(t)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue makes a certificate for 127.0.0.1 (or for a client), valid until end, and gives both as PEM.
func (a *authority) issue(t testing.TB, name string, end time.Time, hosts ...string) (cert, key []byte) {
	t.Helper()
	k := newKey(t)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: end,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &k.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	kd, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: kd})
}

func (a *authority) server(t testing.TB, end time.Time, hosts ...string) *tls.Config {
	t.Helper()
	cert, key := a.issue(t, "broker", end, hosts...)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
}

func write(t testing.TB, file string, content []byte) {
	t.Helper()
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestRenewedFiles: a wrong CA, then an expired client certificate and a wrong secret are put right one by one, and
// the same uplink connects without a restart.
func TestRenewedFiles(t *testing.T) {
	t.Parallel()
	ours, other := newAuthority(t, "ours"), newAuthority(t, "another")
	b := newFakeBroker(t, ours.server(t, time.Now().Add(time.Hour), "127.0.0.1")).serve()
	dir := t.TempDir()
	ca, cert, key, secret := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "secret")
	src := newMemSource()
	src.put(buffer.Live, readings(1, 3)...)
	u := start(t, src, []string{"mqtts://" + b.addr()}, func(o *Options) {
		o.CA, o.Cert, o.Key, o.Secret, o.Username = ca, cert, key, secret, "box"
	})
	says := func(words string) {
		t.Helper()
		waitFor(t, words, func() bool { return strings.Contains(u.Stats().LastError, words) })
	}
	says("secret: open " + secret)
	write(t, secret, []byte("s3cret\n"))
	says("ca: open " + ca)
	write(t, ca, []byte("no PEM"))
	says("holds no PEM certificate")
	write(t, ca, other.pem)
	says("cert and key")
	expired, expiredKey := ours.issue(t, "box", time.Now().Add(-time.Hour))
	write(t, cert, expired)
	write(t, key, expiredKey)
	says("an authority that is not trusted here")
	write(t, ca, ours.pem)
	says("client certificate has expired")
	fresh, freshKey := ours.issue(t, "box", time.Now().Add(time.Hour))
	write(t, key, freshKey)
	write(t, cert, fresh)
	waitFor(t, "the records", func() bool { return all(src.ackedReadings(), 3) })
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.connects[0]; c.Username != "box" || string(c.Password) != "s3cret" {
		t.Errorf("user %q with secret %q", c.Username, c.Password)
	}
}

func TestServerIsVerified(t *testing.T) {
	t.Parallel()
	ours := newAuthority(t, "ours")
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	write(t, ca, ours.pem)
	for name, c := range map[string]struct {
		config *tls.Config
		words  string
	}{
		"another name": {ours.server(t, time.Now().Add(time.Hour), "broker.example"), "made out to"},
		"expired":      {ours.server(t, time.Now().Add(-time.Hour), "127.0.0.1"), "clock"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newFakeBroker(t, c.config).serve()
			u := start(t, newMemSource(), []string{"mqtts://" + b.addr()}, func(o *Options) { o.CA = ca })
			waitFor(t, c.words, func() bool { return strings.Contains(u.Stats().LastError, c.words) })
		})
	}
	t.Run("no TLS there", func(t *testing.T) {
		b := newFakeBroker(t, nil).serve()
		u := start(t, newMemSource(), []string{"mqtts://" + b.addr()}, func(o *Options) { o.CA = ca })
		waitFor(t, "an error", func() bool { return u.Stats().LastError != "" })
	})
}

func TestHints(t *testing.T) {
	for want, err := range map[string]error{
		"username and the secret": &refusedError{4},
		"access list":             &refusedError{5},
		"client in [platform]":    &refusedError{2},
		"may still be starting":   &refusedError{3},
		"put the file":            &fileError{"ca", os.ErrNotExist},
		"readable for gatewayd":   &fileError{"ca", os.ErrPermission},
		"no broker listens":       &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED},
		"default gateway":         &net.OpError{Op: "dial", Err: syscall.ENETUNREACH},
		"spelling":                &net.DNSError{IsNotFound: true},
		"no DNS server":           &net.DNSError{IsTimeout: true},
		"does not speak TLS":      tls.RecordHeaderError{},
		"hangs up without a word": &noSessionError{io.EOF},
		"firewalls":               errNoConn,
		"is stuck":                errNoAck,
	} {
		if got := hint(err); !strings.Contains(got, want) {
			t.Errorf("%v: hint %q, want it to say %q", err, got, want)
		}
	}
	if h := hint(errors.New("x")); h != "" {
		t.Errorf("a hint for nothing: %q", h)
	}
	for code := byte(1); code < 7; code++ {
		if (&refusedError{code}).Error() == "" {
			t.Errorf("no words for code %d", code)
		}
	}
	for err, want := range map[error]bool{io.EOF: true, syscall.ECONNRESET: true, errNoAck: false, context.Canceled: false, errCut: false} {
		if byPeer(err) != want {
			t.Errorf("byPeer(%v) = %t", err, !want)
		}
	}
}

func TestParseServer(t *testing.T) {
	for in, want := range map[string]server{
		"mqtt://h":        {host: "h", addr: "h:1883"},
		"tcp://h:1884":    {host: "h", addr: "h:1884"},
		"mqtts://h.x":     {host: "h.x", addr: "h.x:8883", tls: true},
		"ssl://[::1]:99/": {host: "::1", addr: "[::1]:99", tls: true},
	} {
		want.url = in
		got, err := parseServer(in)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", in, got, err, want)
		}
	}
}

// TestIdentity holds that an identity is asked for at each connect, that what hinders it is said, and that it stands in
// place of files.
func TestIdentity(t *testing.T) {
	t.Parallel()
	ours := newAuthority(t, "ours")
	b := newFakeBroker(t, ours.server(t, time.Now().Add(time.Hour), "127.0.0.1")).serve()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	write(t, ca, ours.pem)
	src := newMemSource()
	src.put(buffer.Live, readings(1, 3)...)
	var mu sync.Mutex
	var own tls.Certificate
	fault := errors.New("this is a copy of another box")
	u := start(t, src, []string{"mqtts://" + b.addr()}, func(o *Options) {
		o.CA = ca
		o.Identity = func() (tls.Certificate, error) {
			mu.Lock()
			defer mu.Unlock()
			return own, fault
		}
	})
	waitFor(t, "the reason", func() bool { return strings.Contains(u.Stats().LastError, "identity: this is a copy of another box") })
	cert, key := ours.issue(t, "box", time.Now().Add(time.Hour))
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	own, fault = pair, nil
	mu.Unlock()
	waitFor(t, "the records", func() bool { return all(src.ackedReadings(), 3) })
}
