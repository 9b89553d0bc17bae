package update

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"edgegateway/gatewayd/command"
)

// Manifest says what one release is for one architecture. It travels as a JWS in compact form whose payload is this in
// JSON; members that are not known are an error, so that a later manifest is refused rather than half understood.
type Manifest struct {
	V        int    `json:"v"`       // 1
	Package  string `json:"package"` // the package's name: "gatewayd"
	Version  string `json:"version"` // as the package's own control data has it
	Arch     string `json:"arch"`    // as the package manager names it: "arm64"
	Artifact        // the package
	// MinVersion is the oldest version that may be updated from; "" for any.
	MinVersion string `json:"min_version,omitempty"`
	// NotAfter ends the offer: Unix milliseconds; 0 for never.
	NotAfter int64 `json:"not_after,omitempty"`
	// OneWay says that what this version writes cannot be read by the ones before. Whoever orders it must say that this is
	// known; a rollback then costs what is buffered, which is declared.
	OneWay bool   `json:"one_way,omitempty"`
	Notes  string `json:"notes,omitempty"` // for people
	// Bases are packages of versions that this one may replace, for gateways that do not hold the package of what they
	// run: without it there would be nothing to roll back to.
	Bases []Base `json:"bases,omitempty"`
}

// Artifact is one file to be had by URL.
type Artifact struct {
	URL    string `json:"url"` // http or https; relative to the manifest's own when that came by URL
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"` // 64 hex digits
}

// Base is the package of an earlier version.
type Base struct {
	Version string `json:"version"`
	Artifact
}

// maxManifest bounds a manifest's text; maxPackage, a package's size.
const (
	maxManifest = 16 << 10
	maxPackage  = 1 << 30
)

// ErrRefused says that an update is not begun, and nothing was touched.
var ErrRefused = errors.New("refused")

func refusef(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))
}

// ReadManifest checks a manifest's signature against the keys, and its form. An error is a refusal.
func ReadManifest(text []byte, keys []ed25519.PublicKey) (Manifest, error) {
	var m Manifest
	text = bytes.TrimSpace(text)
	if len(text) > maxManifest {
		return m, refusef("the manifest is larger than %d bytes", maxManifest)
	}
	token, err := command.ParseToken(text)
	if err != nil {
		return m, refusef("the manifest can't be read: %v", err)
	}
	if !slices.ContainsFunc(keys, token.Verify) {
		return m, refusef("the manifest is not signed by any of the %d keys that this gateway takes updates from", len(keys))
	}
	d := json.NewDecoder(bytes.NewReader(token.Payload))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return m, refusef("the manifest can't be understood: %v", err)
	}
	return m, m.check()
}

func (m *Manifest) check() error {
	switch {
	case m.V != 1:
		return refusef("a manifest of form %d; this gateway knows form 1", m.V)
	case m.Package == "" || m.Version == "" || m.Arch == "":
		return refusef("the manifest does not say package, version and arch")
	}
	for _, a := range append([]Artifact{m.Artifact}, artifacts(m.Bases)...) {
		if digest, err := hex.DecodeString(a.SHA256); err != nil || len(digest) != 32 {
			return refusef("the manifest's sha256 %q is no SHA-256 in hex", a.SHA256)
		}
		if a.Size <= 0 || a.Size > maxPackage {
			return refusef("the manifest's size %d is out of range: allowed are 1 to %d", a.Size, maxPackage)
		}
	}
	return nil
}

func artifacts(bases []Base) []Artifact {
	out := make([]Artifact, len(bases))
	for i, b := range bases {
		out[i] = b.Artifact
	}
	return out
}

// current refuses what is over. A clock that is behind lets an old manifest pass; a downgrade is refused all the same.
func (m *Manifest) current(now time.Time) error {
	if m.NotAfter != 0 && now.UnixMilli() > m.NotAfter {
		return refusef("the manifest was good until %s", time.UnixMilli(m.NotAfter).UTC().Format(time.RFC3339))
	}
	return nil
}

// base finds the package of a version, with or without its revision; false when the manifest has none.
func (m *Manifest) base(version string) (Base, bool) {
	i := slices.IndexFunc(m.Bases, func(b Base) bool { return runs(b.Version, version) })
	if i < 0 {
		return Base{}, false
	}
	return m.Bases[i], true
}

// resolve makes an artifact's URL absolute.
func (a Artifact) resolve(manifest string) (string, error) {
	u, err := url.Parse(a.URL)
	if err == nil && !u.IsAbs() && manifest != "" {
		var base *url.URL
		if base, err = url.Parse(manifest); err == nil {
			u = base.ResolveReference(u)
		}
	}
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", refusef("the package's address %q is no http or https URL", a.URL)
	}
	return u.String(), nil
}

// ReadKeys reads the public keys that updates are taken from: PEM blocks, Ed25519. With strict, nobody but root may be
// able to change the file; the error says so.
func ReadKeys(path string, strict bool) ([]ed25519.PublicKey, error) {
	const hint = "\n    hint: put the publisher's Ed25519 public keys there: openssl pkey -in key.pem -pubout"
	info, err := os.Lstat(path)
	if err != nil {
		return nil, fmt.Errorf("no update can be checked: %w%s", err, hint)
	}
	if strict {
		if err := rootsOwn(path, info); err != nil {
			return nil, err
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var keys []ed25519.PublicKey
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		key, ok := parsed.(ed25519.PublicKey)
		if err != nil || !ok {
			return nil, fmt.Errorf("%s: a PEM block %q that is no Ed25519 public key%s", path, block.Type, hint)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 || len(bytes.TrimSpace(text)) > 0 && strings.Contains(string(text), "BEGIN") {
		return nil, fmt.Errorf("%s holds no PEM public key, or a broken one%s", path, hint)
	}
	return keys, nil
}

func rootsOwn(path string, info fs.FileInfo) error {
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || owner.Uid != 0 || !info.Mode().IsRegular() || info.Mode()&0o022 != 0 {
		return fmt.Errorf("%s decides what may be installed: it must be a plain file of root's that nobody else can write, and is %s of user %d",
			path, info.Mode(), owner.Uid)
	}
	return nil
}
