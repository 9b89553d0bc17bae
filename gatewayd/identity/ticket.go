package identity

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"
)

// Ticket is what a platform hands out for one gateway: who it will be, whom to ask for a certificate, and the secret
// that allows it once. It is a JSON file; members that are not known are an error.
type Ticket struct {
	V       int    `json:"v"`       // 1
	Gateway string `json:"gateway"` // the gateway's name, which the certificate will have as its common name
	EST     string `json:"est"`     // https://host:port, or with a path: then it is taken for the whole of it
	CA      string `json:"ca"`      // PEM: whom the EST server's certificate is from, and the platform's
	Secret  string `json:"secret"`  // one-time; with the gateway's name it is the HTTP user and password
	Issued  int64  `json:"issued"`  // Unix milliseconds: it is no earlier now, whatever the clock says
	Expires int64  `json:"expires,omitempty"`
	// Servers, Dialect and Prefix are for [platform]; see docs/configuration.md.
	Servers []string `json:"servers,omitempty"`
	Dialect string   `json:"dialect,omitempty"`
	Prefix  string   `json:"prefix,omitempty"`
}

const (
	maxTicket   = 256 << 10
	leastSecret = 14 // characters: 80 bits in base64
)

// ReadTicket reads and checks a ticket; the error is for the installer.
func ReadTicket(path string) (Ticket, error) {
	var t Ticket
	info, err := os.Stat(path)
	if err != nil {
		return t, err
	}
	if info.Size() > maxTicket {
		return t, fmt.Errorf("%s is no ticket: it is larger than %d bytes", path, maxTicket)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return t, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&t); err != nil {
		return t, fmt.Errorf("%s is no ticket: %w", path, err)
	}
	if err := t.check(time.Now()); err != nil {
		return t, fmt.Errorf("the ticket %s: %w", path, err)
	}
	return t, nil
}

func (t *Ticket) check(now time.Time) error {
	_, err := t.endpoint()
	switch {
	case t.V != 1:
		return fmt.Errorf("it is of form %d; this gateway knows form 1", t.V)
	case !goodName(t.Gateway):
		return fmt.Errorf("gateway %q: allowed are 1 to 64 of A-Z a-z 0-9 _ . -", t.Gateway)
	case err != nil:
		return err
	case !x509.NewCertPool().AppendCertsFromPEM([]byte(t.CA)):
		return fmt.Errorf("ca holds no PEM certificate")
	case len(t.Secret) < leastSecret:
		return fmt.Errorf("secret: at least %d characters are asked for", leastSecret)
	case t.Expires != 0 && now.UnixMilli() > t.Expires:
		return fmt.Errorf("it was good until %s; ask the platform for a new one", time.UnixMilli(t.Expires).UTC().Format(time.RFC3339))
	}
	return nil
}

// endpoint is the URL that the operations' names are appended to (RFC 7030, 3.2.2).
func (t *Ticket) endpoint() (string, error) {
	u, err := url.Parse(t.EST)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.User != nil {
		return "", fmt.Errorf("est %q is no https URL: write https://host:port", t.EST)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/.well-known/est"
	}
	return strings.TrimSuffix(u.String(), "/"), nil
}

// goodName says whether a name can stand in topics and file names.
func goodName(s string) bool {
	strange := func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' && r != '.' && r != '-'
	}
	return s != "" && len(s) <= 64 && !strings.ContainsFunc(s, strange)
}
