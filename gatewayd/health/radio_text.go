package health

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// printRadios writes the tables of radios and of the devices on them, where there are any.
func (s *Status) printRadios(w io.Writer) {
	if !slices.ContainsFunc(s.Lines, func(l Line) bool { return l.Radio != nil }) {
		return
	}
	fmt.Fprintln(w, "\nRADIO\tADAPTER\tLISTENS\tHEARD\tADVERTS\tREPEATS\tSTRANGERS\tDROPPED\tREFUSED")
	for _, l := range s.Lines {
		if r := l.Radio; r != nil {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\n", l.Name, strings.TrimSpace(r.Adapter+" "+r.Address), r.Mode, s.ago(r.Heard),
				r.Adverts, r.Repeats, r.Strangers, r.Dropped, r.refused())
		}
	}
	fmt.Fprintln(w, "\nON AIR\tSIGNAL\tBELIEVED\tBATTERY\tFORMAT\tADVERTS\tREPEATS\tREFUSED\tRADIO")
	for _, d := range s.Devices {
		if a := d.Air; a != nil {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\n", d.Name, a.signal(), s.ago(a.Heard), a.battery(), cmp.Or(a.Format, "-"),
				a.Adverts, a.Repeats, a.Refused, d.Line)
		}
	}
	for _, d := range s.Devices { // below the table: a sentence is too long for a column
		if a := d.Air; a != nil && a.Refusal != "" {
			fmt.Fprintf(w, "%s was refused last: %s\n", d.Name, a.Refusal)
		}
	}
}

func (a *Air) signal() string {
	var parts []string
	if a.RSSI != 0 {
		parts = append(parts, fmt.Sprintf("%d dBm", a.RSSI))
	}
	if a.Connected {
		parts = append(parts, "connected")
	}
	return cmp.Or(strings.Join(parts, ", "), "-")
}

func (a *Air) battery() string {
	if a.Battery == nil {
		return "-"
	}
	return fmt.Sprintf("%.0f %%", *a.Battery)
}

// refused is what of the messages was not believed, by cause.
func (r *Radio) refused() string {
	var parts []string
	for _, c := range [...]struct {
		n    uint64
		what string
	}{{r.Truncated, "cut short"}, {r.Unknown, "unknown"}, {r.Key, "not decrypted"}, {r.Replayed, "replayed"}, {r.Plain, "not encrypted"}} {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	if len(parts) == 0 {
		return "0"
	}
	return strings.Join(parts, ", ")
}
