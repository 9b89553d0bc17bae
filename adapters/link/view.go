package link

import (
	"context"
	"errors"
	"time"
)

// View is a serial line as devices of one mode see it: meters at 2400 8E1 and Modbus at 9600 8N1 on one pair of wires.
// Each Exchange first sets the line to the view's own mode, where another view has left it in another: when the last
// bit of what was sent has left, and with the silence that the slower of the two modes needs. Views of one line belong
// to the loop that owns the line.
type View struct {
	line *SerialLine
	mode Mode
}

// At gives a view of the line in a mode. Where the line has a view, all that speak on it need one.
func (l *SerialLine) At(m Mode) *View { return &View{l, m} }

// Exchange implements Line. Where the port's driver can't do the view's mode, nothing is sent and the error says so: it is
// none of Exchange's, since the line is well and other views go on.
func (v *View) Exchange(ctx context.Context, request []byte, wait time.Duration, complete Framer) ([]byte, error) {
	if v.line.Mode() != v.mode {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		// A port is opened in a mode that it has had before, so that one view's cannot keep it from the others.
		if _, err := v.line.opened(ctx); err != nil {
			return nil, err
		}
		if err := v.line.SetMode(v.mode); err != nil {
			return nil, err
		}
	}
	return v.line.Exchange(ctx, request, wait, complete)
}

// Timing implements Line, for the view's mode.
func (v *View) Timing() Timing { return Timing{Char: v.mode.Char(), Silence: v.mode.Silence()} }

// Mode is the mode that the next Exchange speaks.
func (v *View) Mode() Mode { return v.mode }

// SetMode changes the view's mode and the line's with it, at once where it is open: for protocols that begin slowly and
// agree on a faster rate. The error says that the port's driver can't do the mode; the view's stays then as it was. A port
// that is gone is for the next Exchange to tell.
func (v *View) SetMode(m Mode) error {
	if v.line.current() != nil {
		var down *DownError
		if err := v.line.SetMode(m); err != nil && !errors.As(err, &down) {
			return err
		}
	}
	v.mode = m
	return nil
}

// Close closes the line, for all its views.
func (v *View) Close() error { return v.line.Close() }
