package scenarios

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"

	"edgegateway/testbench/broker"
)

// authority stands behind the certificates of the broker and of the gateway.
type authority struct {
	trusted *broker.Authority // whose files are in the gateway's credentials folder
	other   *broker.Authority // to whom the broker has moved

	mu     sync.Mutex
	config *tls.Config
	serial string // of the certificate that the gateway showed last
	before string // the same, when one was last renewed
}

// newAuthority issues the gateway's certificate, and gives the TLS configuration of a broker that asks for it.
func (s *scenario) newAuthority() (*tls.Config, error) {
	a := &authority{}
	var err error
	if a.trusted, err = broker.NewAuthority(filepath.Join(s.box, "credentials")); err != nil {
		return nil, err
	}
	if _, _, err := a.trusted.Issue("gateway"); err != nil {
		return nil, err
	}
	if err := a.serve(a.trusted); err != nil {
		return nil, err
	}
	s.authority = a
	return &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.config, nil
	}}, nil
}

// serve lets the broker have its certificate from that authority, from the next connection on.
func (a *authority) serve(by *broker.Authority) error {
	config, err := by.Server(true)
	if err != nil {
		return err
	}
	config.VerifyConnection = func(state tls.ConnectionState) error {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.serial = state.PeerCertificates[0].SerialNumber.String()
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.config = config
	return nil
}

// renewed says whether the gateway has shown another certificate since the last word of the script about them.
func (a *authority) renewed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.serial != a.before
}

func (s *scenario) cmdCertificate(ts *testscript.TestScript, args []string) error {
	a := s.authority
	if a == nil || len(args) != 1 {
		return errors.New("certificate renew|move|trust, after broker tls")
	}
	a.mu.Lock()
	a.before = a.serial
	a.mu.Unlock()
	s.fault()
	switch args[0] {
	case "renew":
		_, _, err := a.trusted.Issue("gateway")
		return err
	case "move":
		dir := filepath.Join(s.dir, "other-authority")
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		var err error
		if a.other, err = broker.NewAuthority(dir); err != nil {
			return err
		}
		if _, _, err := a.other.Issue("gateway"); err != nil {
			return err
		}
		return a.serve(a.other)
	case "trust":
		for _, name := range []string{"ca.pem", "gateway.pem", "gateway.key"} {
			text, err := os.ReadFile(filepath.Join(s.dir, "other-authority", name))
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(s.box, "credentials", name), text, 0o600); err != nil {
				return err
			}
		}
		a.trusted = a.other
		s.platforms[0].arrive()
		return nil
	}
	return fmt.Errorf("certificate has no word %q", args[0])
}
