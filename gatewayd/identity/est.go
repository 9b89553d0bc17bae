package identity

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// estClient speaks to an EST server: Enrollment over Secure Transport, RFC 7030.
type estClient struct {
	url          string           // that operations are appended to
	ca           []byte           // PEM, of the server
	earliest     time.Time        // it is no earlier now, whatever the clock says
	user, secret string           // for HTTP Basic; "" for none
	cert         *tls.Certificate // for TLS; nil for none
}

const (
	estTimeout   = 60 * time.Second
	maxEstAnswer = 1 << 20
	maxEstWait   = time.Hour
)

// errDenied is the server's no: asking again will not change it.
var errDenied = errors.New("the EST server refuses")

// waitError says that the server will answer later (RFC 7030, 4.2.3).
type waitError struct{ after time.Duration }

func (e *waitError) Error() string {
	return fmt.Sprintf("the EST server asks to come back in %s: somebody must approve the request", e.after)
}

// request makes a certificate request for a name, signed with the key (PKCS #10).
func request(name string, key crypto.Signer) ([]byte, error) {
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
	}, key)
}

// enroll sends a request to an operation, "simpleenroll" or "simplereenroll", and gives the certificates that come.
func (e *estClient) enroll(ctx context.Context, operation string, csr []byte) ([]*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, estTimeout)
	defer cancel()
	body := base64.StdEncoding.EncodeToString(csr)
	req, err := http.NewRequestWithContext(ctx, "POST", e.url+"/"+operation, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/pkcs10")
	req.Header.Set("Content-Transfer-Encoding", "base64")
	if e.user != "" {
		req.SetBasicAuth(e.user, e.secret)
	}
	client, err := e.client()
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the EST server can't be reached: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxEstAnswer))
	if err != nil {
		return nil, fmt.Errorf("the EST server's answer breaks off: %w", err)
	}
	switch {
	case resp.StatusCode == http.StatusOK:
		return certificates(text)
	case resp.StatusCode == http.StatusAccepted:
		seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
		if err != nil || seconds < 1 {
			seconds = 60
		}
		return nil, &waitError{min(time.Duration(seconds)*time.Second, maxEstWait)}
	case resp.StatusCode >= 400 && resp.StatusCode < 500:
		return nil, fmt.Errorf("%w: %s: %s", errDenied, resp.Status, firstLine(text))
	default:
		return nil, fmt.Errorf("the EST server answers %s: %s", resp.Status, firstLine(text))
	}
}

func firstLine(text []byte) string {
	line, _, _ := bytes.Cut(bytes.TrimSpace(text), []byte("\n"))
	return strings.ToValidUTF8(string(line[:min(len(line), 200)]), "?")
}

// client trusts the ticket's CA and nobody else. It follows no redirects: what is asked for is for one server.
func (e *estClient) client() (*http.Client, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(e.ca) {
		return nil, errors.New("the CA is no PEM certificate")
	}
	t := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, Time: func() time.Time { return later(time.Now(), e.earliest) }}
	if e.cert != nil {
		t.Certificates = []tls.Certificate{*e.cert}
	}
	return &http.Client{
		Transport:     &http.Transport{TLSClientConfig: t, Proxy: http.ProxyFromEnvironment},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// certificates reads a certs-only answer: base64 of a CMS SignedData that signs nothing and carries certificates
// (RFC 7030, 4.2.3; RFC 5272, 4.1).
func certificates(text []byte) ([]*x509.Certificate, error) {
	der, err := base64.StdEncoding.DecodeString(string(bytes.Join(bytes.Fields(text), nil)))
	if err != nil {
		return nil, fmt.Errorf("the EST server's answer is no base64: %w", err)
	}
	var content struct {
		Type asn1.ObjectIdentifier
		Data asn1.RawValue `asn1:"explicit,tag:0"`
	}
	if rest, err := asn1.Unmarshal(der, &content); err != nil || len(rest) > 0 {
		return nil, fmt.Errorf("the EST server's answer is no CMS message: %w", err)
	}
	if !content.Type.Equal(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}) {
		return nil, fmt.Errorf("the EST server's answer is a CMS message of type %s, signed data is expected", content.Type)
	}
	var signed struct {
		Version      int
		Digests      asn1.RawValue
		Content      asn1.RawValue
		Certificates asn1.RawValue `asn1:"optional,tag:0"`
	}
	if _, err := asn1.Unmarshal(content.Data.Bytes, &signed); err != nil {
		return nil, fmt.Errorf("the EST server's answer is no signed data: %w", err)
	}
	certs, err := x509.ParseCertificates(signed.Certificates.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the EST server's answer holds what is no certificate: %w", err)
	}
	if len(certs) == 0 {
		return nil, errors.New("the EST server's answer holds no certificate")
	}
	return certs, nil
}

// chain finds the certificate that is for the key, checks what it says, and puts the others behind it.
func chain(certs []*x509.Certificate, key crypto.PublicKey, name string, now time.Time) ([]*x509.Certificate, error) {
	own, ok := key.(interface{ Equal(crypto.PublicKey) bool })
	if !ok {
		return nil, errors.New("this kind of key can't be compared")
	}
	for i, c := range certs {
		if !own.Equal(c.PublicKey) {
			continue
		}
		switch {
		case c.Subject.CommonName != name:
			return nil, fmt.Errorf("the certificate is for %q, and this gateway is %q", c.Subject.CommonName, name)
		case !c.NotAfter.After(now):
			return nil, fmt.Errorf("the certificate ended at %s", c.NotAfter.UTC().Format(time.RFC3339))
		case c.IsCA:
			return nil, errors.New("the certificate is one of an authority")
		}
		return append(append([]*x509.Certificate{c}, certs[:i]...), certs[i+1:]...), nil
	}
	return nil, errors.New("the EST server sent no certificate for our key")
}
