package main

import (
	"fmt"
	"log/slog"

	"edgegateway/adapters/link"
	"edgegateway/gatewayd/config"
)

// wire is what every physical line can do and tell.
type wire interface {
	link.Line
	Trace() *link.Trace
	Stats() link.Stats
}

// openLine makes the line that is configured. Nothing is opened before its first request.
func openLine(l config.Line, log *slog.Logger) (wire, error) {
	o := link.Options{Name: l.Name, RS485: l.RS485, Log: log}
	if l.Port != "" {
		mode, err := link.ParseMode(l.Mode)
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", l.Name, err)
		}
		return link.Serial(l.Port, mode, o), nil
	}
	o.Stream = l.Framing == "tcp"
	return link.TCP(l.Host, o), nil
}

// viewOf is a line as a device with a mode of its own sees it, or, for "", one without.
func viewOf(w wire, mode string) link.Line {
	serial, ok := w.(*link.SerialLine)
	if !ok {
		return w
	}
	m, err := link.ParseMode(mode)
	if err != nil {
		m = serial.Mode() // the line's own: nothing has changed it before the lines run
	}
	return serial.At(m)
}

// where tells people which line is meant.
func where(l config.Line) string {
	switch {
	case l.Port != "":
		return l.Port + " " + l.Mode
	case l.Radio != "":
		return l.Radio
	case l.Framing == "tcp":
		return l.Host
	default:
		return l.Host + " (" + l.Framing + ")"
	}
}
