package command

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
)

// Token is a JWS in compact form (RFC 7515, 7.1) with the one algorithm that there is here: EdDSA with Ed25519
// (RFC 8037, 3.1). Until Verify has said yes, nothing in it is to be believed.
type Token struct {
	Key     string // the header's kid: whose key it claims to be signed with
	Payload []byte

	signed    []byte // what the signature is over
	signature []byte
}

// encoding is how a token writes bytes: base64url without padding (RFC 7515, 2).
func encoding() *base64.Encoding { return base64.RawURLEncoding.Strict() }

// ParseToken reads the compact form strictly: base64url without padding, an alg of EdDSA and no other, no critical
// extensions. It does not look at the signature beyond its size.
func ParseToken(text []byte) (Token, error) {
	var t Token
	parts := bytes.Split(text, []byte("."))
	if len(parts) != 3 {
		return t, fmt.Errorf("the command is neither a JSON object nor a JWS in compact form: %d parts between dots, 3 are needed", len(parts))
	}
	raw := make([][]byte, len(parts))
	for i, name := range []string{"header", "payload", "signature"} {
		var err error
		if raw[i], err = encoding().DecodeString(string(parts[i])); err != nil {
			return t, fmt.Errorf("the JWS %s is not base64url without padding: %w", name, err)
		}
	}
	header, err := object(raw[0])
	if err != nil {
		return t, fmt.Errorf("the JWS header is no JSON object as it should be: %w", err)
	}
	var alg string
	if err := json.Unmarshal(header["alg"], &alg); err != nil || alg != "EdDSA" {
		return t, fmt.Errorf("the JWS says alg = %s: only \"EdDSA\" is taken", orNothing(header["alg"]))
	}
	for _, name := range []string{"crit", "b64"} {
		if _, ok := header[name]; ok {
			return t, fmt.Errorf("the JWS header has %q, which is not understood", name)
		}
	}
	if kid, ok := header["kid"]; ok {
		if err := json.Unmarshal(kid, &t.Key); err != nil {
			return t, errors.New("the JWS header's kid is no text")
		}
	}
	if len(raw[2]) != ed25519.SignatureSize {
		return t, fmt.Errorf("the JWS signature has %d bytes, %d are needed", len(raw[2]), ed25519.SignatureSize)
	}
	t.Payload, t.signature = raw[1], raw[2]
	t.signed = text[:len(parts[0])+1+len(parts[1])]
	return t, nil
}

func orNothing(raw json.RawMessage) string {
	if raw == nil {
		return "nothing"
	}
	return string(raw)
}

// Verify says whether the token was signed with the private half of the key.
func (t Token) Verify(key ed25519.PublicKey) bool {
	return len(key) == ed25519.PublicKeySize && t.signature != nil && ed25519.Verify(key, t.signed, t.signature)
}

// Sign makes a token of a payload, in the name of an operator.
func Sign(key ed25519.PrivateKey, operator string, payload []byte) []byte {
	name, _ := json.Marshal(operator) // a text always encodes
	header := `{"alg":"EdDSA","kid":` + string(name) + `}`
	signed := encoding().AppendEncode(nil, []byte(header))
	signed = encoding().AppendEncode(append(signed, '.'), payload)
	signature := ed25519.Sign(key, signed)
	return encoding().AppendEncode(append(signed, '.'), signature)
}
