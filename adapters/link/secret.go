package link

import "context"

// Span is some bytes of a request: from From up to, but without, To.
type Span struct{ From, To int }

type secretKey struct{}

// WithSecret tells Line.Exchange which bytes of its request are secret: a password, and the check byte from which a part
// of it follows. They are sent as they are, and the line's trace hides them. What comes back beside the answer may be
// their echo: neither the trace nor a *GarbageError shows it, until the next request is sent.
func WithSecret(ctx context.Context, secret ...Span) context.Context {
	if len(secret) == 0 {
		return ctx
	}
	return context.WithValue(ctx, secretKey{}, secret)
}

// SecretOf is what WithSecret said, for implementations of Line.
func SecretOf(ctx context.Context) []Span {
	secret, _ := ctx.Value(secretKey{}).([]Span)
	return secret
}
