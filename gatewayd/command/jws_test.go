package command_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"strings"
	"testing"

	"edgegateway/gatewayd/command"
)

func unbase(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The key, the payload and the token of RFC 8037, appendix A.
const (
	rfcSeed    = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
	rfcPublic  = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
	rfcPayload = "Example of Ed25519 signing"
	rfcToken   = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc." +
		"hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
)

func TestTheTokenOfRFC8037Verifies(t *testing.T) {
	public := ed25519.PublicKey(unbase(t, rfcPublic))
	token, err := command.ParseToken([]byte(rfcToken))
	if err != nil {
		t.Fatal(err)
	}
	if !token.Verify(public) || string(token.Payload) != rfcPayload {
		t.Errorf("the RFC's own token does not verify: %q", token.Payload)
	}
	key := ed25519.NewKeyFromSeed(unbase(t, rfcSeed))
	if string(key.Public().(ed25519.PublicKey)) != string(public) {
		t.Fatal("the RFC's keys do not belong together")
	}
	own, err := command.ParseToken(command.Sign(key, "control-room", []byte(rfcPayload)))
	if err != nil || !own.Verify(public) || own.Key != "control-room" {
		t.Errorf("what we sign does not verify: %+v, %v", own, err)
	}
	other, _, _ := ed25519.GenerateKey(nil)
	if token.Verify(other) || token.Verify(nil) {
		t.Error("a token verifies with a key that it was not signed with")
	}
	for i := range rfcToken {
		bent := []byte(rfcToken)
		bent[i] ^= 1
		if got, err := command.ParseToken(bent); err == nil && got.Verify(public) {
			t.Errorf("byte %d changed: the token still verifies", i)
		}
	}
}

func TestTokensThatAreNotTaken(t *testing.T) {
	parts := strings.Split(rfcToken, ".")
	header := func(text string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(text)) + "." + parts[1] + "." + parts[2]
	}
	for want, token := range map[string]string{
		"2 parts":                     parts[0] + "." + parts[1],
		"4 parts":                     rfcToken + ".x",
		"the JWS signature has 0":     parts[0] + "." + parts[1] + ".",
		`alg = "none"`:                header(`{"alg":"none"}`),
		`alg = "HS256"`:               header(`{"alg":"HS256"}`),
		`alg = "Ed448"`:               header(`{"alg":"Ed448"}`),
		"alg = nothing":               header(`{"kid":"a"}`),
		`header has "crit"`:           header(`{"alg":"EdDSA","crit":["x"],"x":1}`),
		`header has "b64"`:            header(`{"alg":"EdDSA","b64":false}`),
		`"alg" stands there twice`:    header(`{"alg":"EdDSA","alg":"EdDSA"}`),
		"something follows it":        header(`{"alg":"EdDSA"}{}`),
		"kid is no text":              header(`{"alg":"EdDSA","kid":7}`),
		"header is not base64url":     "=" + rfcToken,
		"signature is not base64url":  rfcToken + "==",
		"header is no JSON object":    header(`[]`),
		"payload is not base64url":    parts[0] + ".a b." + parts[2],
		"the JWS signature has 63":    parts[0] + "." + parts[1] + "." + parts[2][:84],
		"header is no JSON object as": header(``),
	} {
		if _, err := command.ParseToken([]byte(token)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add([]byte(rfcToken))
	public, err := base64.RawURLEncoding.DecodeString(rfcPublic)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		token, err := command.ParseToken(text)
		if err != nil {
			return
		}
		if token.Verify(public) && string(text) != rfcToken {
			t.Errorf("another text verifies: %q", text)
		}
		_, _ = command.ReadRequest(token.Payload)
	})
}

func TestReadRequestIsStrict(t *testing.T) {
	r, err := command.ReadRequest([]byte(`{"v":1,"id":"a","gateway":"g","verb":"write","args":{"x":1},"issued":2,"expires":3,"ctr":4,"more":[1]}`))
	if err != nil || r.V != 1 || r.ID != "a" || r.Gateway != "g" || r.Verb != "write" || string(r.Args) != `{"x":1}` || r.Issued != 2 || r.Expires != 3 || r.Counter != 4 {
		t.Errorf("got %+v, %v", r, err)
	}
	if r, err = command.ReadRequest([]byte(`{"Verb":"write","VERB":"write"}`)); err != nil || r.Verb != "" {
		t.Errorf("other letters are read as the verb: %+v, %v", r, err)
	}
	for _, text := range []string{``, `[]`, `{"verb":"a","verb":"b"}`, `{"verb":1}`, `{} x`, `{}}`, `{"ctr":-1}`, `{"expires":"now"}`, `{"verb":"a"`} {
		if r, err := command.ReadRequest([]byte(text)); err == nil {
			t.Errorf("%s is read as %+v", text, r)
		}
	}
}
