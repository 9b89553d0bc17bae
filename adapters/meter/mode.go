package meter

import (
	"fmt"
	"strings"

	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
)

// moder is a line whose mode can be changed.
type moder interface {
	Mode() link.Mode
	SetMode(link.Mode) error
}

// Modes are the line modes that a scan tries; one zero Mode is the line as it is. The error is a *field.DeviceError.
func Modes(line link.Line, o field.ScanOptions) ([]link.Mode, error) {
	if len(o.Modes) == 0 {
		return []link.Mode{{}}, nil
	}
	if _, ok := line.(moder); !ok {
		return nil, &field.DeviceError{Key: "modes", Value: strings.Join(o.Modes, ", "), Problem: "this line has no modes", Hint: "leave the modes out"}
	}
	var modes []link.Mode
	for _, s := range o.Modes {
		m, err := link.ParseMode(s)
		if err != nil {
			return nil, &field.DeviceError{Key: "modes", Value: s, Problem: err.Error(), Hint: `write modes as "2400 8E1"`}
		}
		modes = append(modes, m)
	}
	return modes, nil
}

// Within does something in a mode, and leaves the line in the one that it had. The error wraps field.ErrLine when the
// mode cannot be set, else it is that of do.
func Within(line link.Line, mode link.Mode, do func() error) error {
	l, ok := line.(moder)
	if !ok || mode == (link.Mode{}) || mode == l.Mode() {
		return do()
	}
	own := l.Mode()
	if err := l.SetMode(mode); err != nil {
		return fmt.Errorf("%w: %w", field.ErrLine, err)
	}
	err := do()
	if back := l.SetMode(own); back != nil && err == nil {
		err = fmt.Errorf("%w: %w", field.ErrLine, back)
	}
	return err
}

// ModeName is what field.Found.Mode says: the mode, or the line's own for the zero Mode, "" on a line without modes.
func ModeName(line link.Line, mode link.Mode) string {
	l, ok := line.(moder)
	switch {
	case !ok:
		return ""
	case mode == (link.Mode{}):
		return l.Mode().String()
	}
	return mode.String()
}
