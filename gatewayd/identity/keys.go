package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"edgegateway/gatewayd/durable"
)

// Keys is where private keys live. A key is named by us, used through its Signer, and never read: a TPM or a PKCS#11
// token can be one (docs/provisioning.md).
type Keys interface {
	// Create makes a key; one of the same name is replaced.
	Create(name string) (crypto.Signer, error)
	// Open gives a key that was made before. A key that is not there is an error that wraps os.ErrNotExist.
	Open(name string) (crypto.Signer, error)
	// Remove destroys a key, which need not be there.
	Remove(name string) error
}

// FileKeys keeps keys as PEM files (PKCS #8, ECDSA on P-256) that their owner alone may read.
type FileKeys struct{ Dir string }

func (k FileKeys) path(name string) string { return filepath.Join(k.Dir, name+".pem") }

// Create makes a key, durable when it returns.
func (k FileKeys) Create(name string) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return key, durable.WriteFile(k.path(name), text, 0o600)
}

// Open reads a key. A file that others may read is refused: it is nobody's secret any more.
func (k FileKeys) Open(name string) (crypto.Signer, error) {
	path := k.path(name)
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others (%s): provision the gateway anew", path, info.Mode())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s is no PEM file", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New(path + " holds a key that cannot sign")
	}
	return signer, nil
}

// Remove removes a key's file.
func (k FileKeys) Remove(name string) error { return durable.Remove(k.path(name)) }
