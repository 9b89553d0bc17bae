package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"edgegateway/adapters/profile"
	"edgegateway/adapters/profile/strict"
)

// lineEntry is one [[line]], also one that cannot run.
type lineEntry struct {
	Line
	kind  string // KindPort, KindHost or KindRadio; "" when that could not be told
	table *strict.Table
	later bool // for protocols of a later build
}

func (l *loader) readLines() {
	ports, radios := map[string]*strict.Table{}, map[string]*strict.Table{}
	for _, t := range l.tables("line") {
		e := &lineEntry{table: t}
		e.Name = t.NeedName("name", `a name for the line: name = "rs485-1"`)
		if e.Name != "" {
			t.Where = fmt.Sprintf("line %q", e.Name)
		}
		l.claim(KindLine, e.Name, t)
		e.read()
		if first := ports[e.Port]; first != nil {
			t.Complain("port", "another line has this port: "+first.Locate("port").String(), "one [[line]] a port; many devices may hang on it")
		} else if e.Port != "" {
			ports[e.Port] = t
		}
		if first := radios[e.Radio]; first != nil {
			t.Complain("radio", "another line has this radio: "+first.Locate("radio").String(), "one [[line]] a radio; many devices may hang on it")
		} else if e.Radio != "" {
			radios[e.Radio] = t
		}
		if !t.Failed() && !l.build.runsOn(e.kind) {
			e.later = true
			t.Warn(e.kind, fmt.Sprintf("not in this build: lines with a %s; nothing on the line is polled", e.kind), "")
		}
		if _, taken := l.lines[e.Name]; !taken {
			l.lines[e.Name] = e
		}
		if !t.Failed() && !e.later {
			l.config.Lines = append(l.config.Lines, e.Line)
		}
	}
}

// read reads the keys that the line's kind has.
func (e *lineEntry) read() {
	t := e.table
	kinds := []string{KindPort, KindHost, KindRadio}
	kinds = slices.DeleteFunc(kinds, func(k string) bool { return !t.Has(k) })
	switch len(kinds) {
	case 0:
		t.Missing(KindPort, `one of: port = "/dev/ttyS1", host = "192.0.2.20:502", radio = "hci0"`)
	case 1:
		e.kind = kinds[0]
	default:
		t.Complain(kinds[1], "the line has a "+kinds[0]+" already", "one [[line]] is one port, or one host, or one radio: make two of it")
	}
	switch e.kind {
	case KindPort:
		e.Port = t.Need("port", `such as port = "/dev/ttyS1", or a name under /dev/serial/by-path that unplugging does not change`)
		if e.Port != "" && !strings.HasPrefix(e.Port, "/") {
			t.Complain("port", "this is no path of a device", `write the whole path: port = "/dev/ttyS1"`)
		}
		e.Mode = t.Need("mode", `baud rate, data bits, parity and stop bits, as the devices have it: mode = "9600 8N1"`)
		if e.Mode != "" {
			e.checkMode()
		}
		e.RS485 = t.Flag("rs485")
		e.Framing = t.OneOf("framing", portFramings[0], portFramings...)
	case KindHost:
		e.Host = t.Need("host", `such as host = "192.0.2.20:502"`)
		if fault := hostPort(e.Host, false); e.Host != "" && fault != "" {
			t.Complain("host", fault, `write host:port: "192.0.2.20:502"; 502 is Modbus TCP`)
		}
		e.Framing = t.OneOf("framing", hostFramings[0], hostFramings...)
	case KindRadio:
		e.Radio = t.Need("radio", `such as radio = "hci0"`)
		e.Scan = t.OneOf("scan", ScanPassive, ScanPassive, ScanActive)
		e.RestartService = t.Flag("restart_service")
	default:
		t.Ignore("mode", "rs485", "framing", "scan", "restart_service")
	}
	e.Timeout = t.Duration("timeout", 0, profile.LeastTimeout, profile.MostTimeout)
	t.Done(func(key string) string {
		switch key {
		case "mode", "rs485":
			return "this is a key of lines with a port"
		case "framing":
			return "this is a key of lines with a port or a host"
		case "scan", "restart_service":
			return "this is a key of lines with a radio"
		}
		return ""
	})
}

// checkMode judges "9600 8N1".
func (e *lineEntry) checkMode() {
	if fault := modeFault(e.Mode); fault != "" {
		e.table.Complain("mode", fault, modeHint)
	}
}

const modeHint = `write baud rate, data bits (7 or 8), parity (N, E or O) and stop bits (1 or 2): "9600 8N1"`

// modeFault says what is wrong with a serial mode; "" when nothing is.
func modeFault(mode string) string {
	baud, rest, _ := strings.Cut(strings.ToUpper(mode), " ")
	rest = strings.TrimSpace(rest)
	n, err := strconv.Atoi(baud)
	switch {
	case err != nil:
		return "this does not begin with a baud rate"
	case n < 50 || n > 4_000_000:
		return fmt.Sprintf("%d is no baud rate: allowed are 50 to 4000000", n)
	case len(rest) != 3 || !strings.Contains("78", rest[:1]) || !strings.Contains("NEO", rest[1:2]) || !strings.Contains("12", rest[2:]):
		return fmt.Sprintf("%q is no character format", rest)
	}
	return ""
}
