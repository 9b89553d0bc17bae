// Package est is an EST server (RFC 7030) with an authority of its own: cacerts, simpleenroll against one-time secrets,
// simplereenroll against a certificate that it gave. It has the refusals and faults that real ones have, and none of
// the code of the house.
package est

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/smallstep/pkcs7"
)

// Server is a running EST server. Its fields may be changed under Lock.
type Server struct {
	sync.Mutex
	Secrets map[string]string // of gateways that may enroll, by name
	Life    time.Duration     // of the certificates that it gives
	Born    time.Duration     // how long ago they began; for certificates that are old already
	Wait    int               // so many requests are answered with 202
	Fault   string            // "500", "another key", "another name", "garbage", "nothing"
	Issued  []*x509.Certificate
	Asked   []string // operations, in order

	http *httptest.Server
	key  *ecdsa.PrivateKey
	ca   *x509.Certificate
	used map[string]crypto.PublicKey // the secrets that were spent, and for which key
}

// New starts a server on a port of the kernel's choice.
func New() (*Server, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: time.Now().AddDate(-5, 0, 0),
		NotAfter: time.Now().AddDate(10, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	s := &Server{Secrets: map[string]string{}, Life: time.Hour, key: key, used: map[string]crypto.PublicKey{}}
	if s.ca, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	own, err := s.server()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/est/cacerts", func(w http.ResponseWriter, _ *http.Request) { s.answer(w, s.ca.Raw) })
	mux.HandleFunc("POST /.well-known/est/simpleenroll", s.enroll)
	mux.HandleFunc("POST /.well-known/est/simplereenroll", s.reenroll)
	s.http = httptest.NewUnstartedServer(mux)
	s.http.TLS = &tls.Config{Certificates: []tls.Certificate{own}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: s.Pool()}
	s.http.Config.ErrorLog = nil
	s.http.StartTLS()
	return s, nil
}

// Close ends the server.
func (s *Server) Close() { s.http.Close() }

// URL is where it is reached.
func (s *Server) URL() string { return s.http.URL }

// CA is its authority's certificate, PEM.
func (s *Server) CA() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.ca.Raw}))
}

// Pool holds its authority.
func (s *Server) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(s.ca)
	return pool
}

// server makes the server's own certificate.
func (s *Server) server() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "est"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: time.Now().AddDate(1, 0, 0), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, s.ca, key.Public(), s.key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// TLS is a server's side of TLS with a certificate of the same authority, for brokers.
func (s *Server) TLS() (*tls.Config, error) {
	own, err := s.server()
	return &tls.Config{Certificates: []tls.Certificate{own}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: s.Pool()}, err
}

// enroll is simpleenroll: the gateway's name and its secret, once; again only for the same key.
func (s *Server) enroll(w http.ResponseWriter, r *http.Request) {
	s.Lock()
	defer s.Unlock()
	s.Asked = append(s.Asked, "simpleenroll")
	csr, ok := s.csr(w, r)
	if !ok {
		return
	}
	name, secret, _ := r.BasicAuth()
	if want, known := s.Secrets[name]; !known || want != secret || csr.Subject.CommonName != name {
		w.Header().Set("WWW-Authenticate", `Basic realm="est"`)
		http.Error(w, "the secret is wrong", http.StatusUnauthorized)
		return
	}
	if key, spent := s.used[secret]; spent && !key.(*ecdsa.PublicKey).Equal(csr.PublicKey) {
		http.Error(w, "the secret was used already", http.StatusForbidden)
		return
	}
	s.used[secret] = csr.PublicKey
	s.issue(w, csr)
}

// reenroll is simplereenroll: the client's certificate says who asks.
func (s *Server) reenroll(w http.ResponseWriter, r *http.Request) {
	s.Lock()
	defer s.Unlock()
	s.Asked = append(s.Asked, "simplereenroll")
	csr, ok := s.csr(w, r)
	switch {
	case !ok:
	case len(r.TLS.PeerCertificates) == 0 || r.TLS.PeerCertificates[0].Subject.CommonName != csr.Subject.CommonName:
		http.Error(w, "the client's certificate is for another", http.StatusForbidden)
	default:
		s.issue(w, csr)
	}
}

func (s *Server) csr(w http.ResponseWriter, r *http.Request) (*x509.CertificateRequest, bool) {
	text, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	var der []byte
	if err == nil {
		der, err = base64.StdEncoding.DecodeString(string(text))
	}
	var csr *x509.CertificateRequest
	if err == nil {
		csr, err = x509.ParseCertificateRequest(der)
	}
	if err == nil {
		err = csr.CheckSignature()
	}
	if err == nil && r.Header.Get("Content-Type") != "application/pkcs10" {
		err = fmt.Errorf("the request is of type %q", r.Header.Get("Content-Type"))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
	return csr, err == nil
}

// issue answers with a certificate, or with the fault that is set. The lock is held.
func (s *Server) issue(w http.ResponseWriter, csr *x509.CertificateRequest) {
	key, name := csr.PublicKey, csr.Subject
	switch s.Fault {
	case "500":
		http.Error(w, "the database is down", http.StatusInternalServerError)
		return
	case "garbage":
		fmt.Fprint(w, base64.StdEncoding.EncodeToString([]byte("no CMS")))
		return
	case "nothing":
		return
	case "another key":
		key = s.key.Public()
	case "another name":
		name.CommonName = "somebody-else"
	}
	if s.Wait > 0 {
		s.Wait--
		w.Header().Set("Retry-After", "5")
		w.WriteHeader(http.StatusAccepted)
		return
	}
	from := time.Now().Add(-s.Born)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(int64(100 + len(s.Issued))), Subject: name, DNSNames: csr.DNSNames, NotBefore: from,
		NotAfter: from.Add(s.Life), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, s.ca, key, s.key)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.Issued = append(s.Issued, cert)
	s.answer(w, append(append([]byte(nil), s.ca.Raw...), der...)) // the gateway's own need not come first
}

// answer sends certificates as a certs-only CMS message.
func (s *Server) answer(w http.ResponseWriter, certs []byte) {
	cms, err := pkcs7.DegenerateCertificate(certs)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/pkcs7-mime; smime-type=certs-only")
	w.Header().Set("Content-Transfer-Encoding", "base64")
	text := base64.StdEncoding.EncodeToString(cms)
	for len(text) > 64 { // lines, as MIME has them
		fmt.Fprintf(w, "%s\r\n", text[:64])
		text = text[64:]
	}
	fmt.Fprintf(w, "%s\r\n", text)
}
