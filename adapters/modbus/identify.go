package modbus

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"edgegateway/adapters/field"
)

// Objects of the device identification (Modbus Application Protocol V1.1b3, 6.21).
var objectNames = [...]string{"vendor", "product", "revision", "url", "product_name", "model", "application"}

// most is how many answers one identification may take: a device that says "more follows" for ever is not believed.
const mostAnswers = 16

// identify asks for the device identification, function 43/14, the regular objects or, where the device has no more,
// the basic ones. The error is the device's refusal, or silence.
func (s *Station) identify(ctx context.Context) (map[string]string, error) {
	const basic, regular = 1, 2
	objects, err := s.readObjects(ctx, regular)
	var refused *field.ExceptionError
	if errors.As(err, &refused) && !errors.Is(err, field.ErrAbsent) && refused.Code != 1 {
		objects, err = s.readObjects(ctx, basic)
	}
	return objects, err
}

func (s *Station) readObjects(ctx context.Context, level byte) (map[string]string, error) {
	objects := map[string]string{}
	next := byte(0)
	for range mostAnswers {
		rest, err := s.fetch(ctx, s.pack(funcEncapsulated, meiDeviceID, level, next))
		if err != nil {
			return nil, err
		}
		// Behind the level: conformity, more follows, next object, how many, and these. Their lengths add up: the
		// framer saw to that.
		more, following, count := rest[2], rest[3], rest[4]
		for at, i := 5, byte(0); i < count; i++ {
			id, n := rest[at], int(rest[at+1])
			if int(id) < len(objectNames) {
				objects[objectNames[id]] = printable(rest[at+2 : at+2+n])
			}
			at += 2 + n
		}
		if more != 0xFF || following <= next {
			break
		}
		next = following
	}
	return objects, nil
}

// serverID asks for what the device says of itself with function 17: its id and whether it runs, then whatever the
// maker found worth telling, mostly text.
func (s *Station) serverID(ctx context.Context) (string, error) {
	data, err := s.fetch(ctx, s.pack(funcReportServerID))
	if err != nil {
		return "", err
	}
	if text := printable(data); len(text) >= 3 {
		return text, nil
	}
	return fmt.Sprintf("% x", data), nil
}

// printable is the text in what a device says, without padding; bytes that are no text are left out.
func printable(b []byte) string {
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, string(b))
	return strings.TrimSpace(text)
}
