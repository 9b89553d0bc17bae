package health

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Print writes the status as one screen of text: what is wrong first, then where things stand.
func (s *Status) Print(w io.Writer) {
	fmt.Fprintf(w, "%s", s.Gateway)
	if s.Site != "" {
		fmt.Fprintf(w, ", %s", s.Site)
	}
	fmt.Fprintf(w, "   gatewayd %s, up %s\n", s.Version, Duration(float64(s.Now-s.Since)/1000))
	if len(s.Problems) == 0 {
		fmt.Fprintln(w, "all is well")
	}
	for _, p := range s.Problems {
		fmt.Fprintln(w, "! "+p)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nPLATFORM\tSTATE\tBACKLOG\tOLDEST\tDELIVERED\tLOST\tACK")
	for i := range s.Platforms {
		p := &s.Platforms[i]
		var delivered, lost uint64
		for _, b := range p.Books {
			delivered += b.Delivered
			lost += b.Lost
		}
		fmt.Fprintf(t, "%s (%s)\t%s\t%d\t%s\t%d\t%d\t%s\n", p.Name, p.Dialect, p.state(s.Now), p.Backlog,
			Duration(p.BacklogAge), delivered, lost, time.Duration(p.AckDelay*float64(time.Second)).Round(time.Millisecond))
	}
	fmt.Fprintln(t, "\nLINE\tSTATE\tBUSY\tREQUESTS\tTIMEOUTS\tGARBAGE\tPARITY\tFRAMING\tWHERE")
	for _, l := range s.Lines {
		state := "up"
		if !l.Up {
			state = "DOWN"
		}
		fmt.Fprintf(t, "%s\t%s\t%.0f %%\t%d\t%d\t%d\t%d\t%d\t%s\n", l.Name, state, 100*l.Occupancy, l.Exchanges, l.Timeouts, l.Garbage, l.Parity, l.Framing, l.Where)
	}
	fmt.Fprintln(t, "\nDEVICE\tSTATE\tGOOD\tBAD\tLAST\tP95\tMISSED\tBUSY\tTURN\tTIMEOUTS\tBADFRAMES\tLINE")
	for _, d := range s.Devices {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\t%s\t%d\t%.0f %%\t%.0f ms\t%d\t%d\t%s %s\n", d.Name, d.State, d.Good, d.Bad, s.ago(d.LastGood), Duration(d.P95), d.Missed,
			100*d.Occupancy, 1000*d.Turnaround, d.Timeouts, d.BadFrames, d.Line, d.Address)
	}
	s.printRadios(t)
	t.Flush()
	b := &s.Buffer
	fmt.Fprintf(w, "\nbuffer: %d records in memory, %d on flash, %s of %s; epoch %d; %d commits\n",
		b.HeadRecords, b.BlockRecords, Size(b.DiskBytes), Size(b.Limit), b.Epoch, b.Commits)
	fmt.Fprint(w, s.flashLine())
	believed := "synchronised"
	if !s.Clock.Synchronised {
		believed = "NOT synchronised"
	}
	fmt.Fprintf(w, "clock: %s, %s; memory: %s\n", time.UnixMilli(s.Now).UTC().Format("2006-01-02 15:04:05 UTC"), believed, Size(s.Process.RSSBytes))
}

// flashLine says how long the buffer holds, what is written a day, and how worn the flash is, as far as that is known.
func (s *Status) flashLine() string {
	var b strings.Builder
	b.WriteString("flash: ")
	if s.Buffer.Holds > 0 {
		fmt.Fprintf(&b, "holds %s at the present rate; ", Duration(s.Buffer.Holds))
	}
	fmt.Fprintf(&b, "written a day: %s by the daemon", Size(int64(s.Flash.OwnDay)))
	if s.Flash.Device != "" {
		fmt.Fprintf(&b, ", %s by the whole box to %s", Size(int64(s.Flash.DeviceDay)), s.Flash.Device)
	}
	if s.Flash.Used > 0 {
		fmt.Fprintf(&b, "; %.0f %% of its life used", 100*s.Flash.Used)
	}
	if s.Flash.Reserve != "" {
		fmt.Fprintf(&b, ", spare blocks %s", s.Flash.Reserve)
	}
	return b.String() + "\n"
}

// ago says how long ago a moment was.
func (s *Status) ago(moment int64) string {
	if moment == 0 {
		return "never"
	}
	return Duration(float64(s.Now-moment)/1000) + " ago"
}

func (p *Platform) state(now int64) string {
	since := Duration(float64(now-p.Since) / 1000)
	switch {
	case p.Cut:
		return "cut on purpose, " + since
	case p.Connected:
		return "connected to " + p.Server + ", " + since
	case p.Since == 0:
		return "not connected yet"
	default:
		return "NOT CONNECTED, " + since
	}
}

// Duration prints seconds as people say them: "0.2 s", "45 s", "12 min", "3.5 h", "11.2 d".
func Duration(seconds float64) string {
	switch {
	case seconds < 10:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", seconds), ".0") + " s"
	case seconds < 120:
		return fmt.Sprintf("%.0f s", seconds)
	case seconds < 7200:
		return fmt.Sprintf("%.0f min", seconds/60)
	case seconds < 172800:
		return fmt.Sprintf("%.1f h", seconds/3600)
	default:
		return fmt.Sprintf("%.1f d", seconds/86400)
	}
}

// Size prints bytes in binary units: "512 B", "12.8 MiB".
func Size(bytes int64) string {
	f, unit := float64(bytes), 0
	for f >= 1024 && unit < 4 {
		f /= 1024
		unit++
	}
	name := [...]string{"B", "KiB", "MiB", "GiB", "TiB"}[unit]
	if unit == 0 {
		return fmt.Sprintf("%d B", bytes)
	}
	return fmt.Sprintf("%.1f %s", f, name)
}
