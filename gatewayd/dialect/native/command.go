package native

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"

	"edgegateway/gatewayd/command"
	"edgegateway/gatewayd/dialect"
)

// Command reads a request: plain JSON, or the payload of a JWS in compact form, which it gives along. It does not judge:
// neither the signature nor the addressee, the age or the verb.
func (d *Dialect) Command(m dialect.Message) (command.Request, error) {
	if want := d.prefix + "/command"; m.Topic != want {
		return command.Request{}, fmt.Errorf("topic %s carries no commands: %s does", m.Topic, want)
	}
	if len(m.Payload) > dialect.MaxPayload {
		return command.Request{}, fmt.Errorf("a command of %d bytes: at most %d are read", len(m.Payload), dialect.MaxPayload)
	}
	text := bytes.TrimSpace(m.Payload)
	if len(text) == 0 {
		return command.Request{}, errors.New("the command is empty")
	}
	var token []byte
	if text[0] != '{' {
		token = bytes.Clone(text)
		var err error
		if text, err = jwsPayload(text); err != nil {
			return command.Request{}, err
		}
	}
	r, err := command.ReadRequest(text)
	r.Token, r.Retained = token, m.Retained
	return r, err
}

// jwsPayload takes the middle of header.payload.signature (RFC 7515, 3.1).
func jwsPayload(text []byte) ([]byte, error) {
	parts := bytes.Split(text, []byte("."))
	if len(parts) != 3 {
		return nil, fmt.Errorf("the command is neither a JSON object nor a JWS in compact form: %d parts between dots, 3 are needed", len(parts))
	}
	payload, err := base64.RawURLEncoding.Strict().DecodeString(string(parts[1]))
	if err != nil {
		return nil, fmt.Errorf("the JWS payload is not base64url without padding: %w", err)
	}
	return payload, nil
}
