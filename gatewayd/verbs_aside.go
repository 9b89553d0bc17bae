package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"text/tabwriter"

	"edgegateway/adapters/field"
	"edgegateway/buffer"
	"edgegateway/gatewayd/candidate"
	"edgegateway/gatewayd/config"
	"edgegateway/gatewayd/health"
)

// backlogOffline does what `gatewayd backlog` does without a running daemon: it looks at a store that was set aside,
// and saves what can be read of it. It says false when that was not asked for.
func (c *cli) backlogOffline() (bool, error) {
	switch first(c.args) {
	case "verify":
		return true, c.verifyAside()
	case "salvage":
		return true, c.salvageAside()
	case "try": // what the daemon asks of another process, see probeStore
		if err := c.takes(2, 2, "backlog try FOLDER"); err != nil {
			return true, err
		}
		return true, buffer.Try(c.args[1])
	}
	return false, nil
}

// aside gives the folder that is meant: the one named, else the store that was set aside last.
func (c *cli) aside() (string, error) {
	if len(c.args) > 1 {
		return c.args[1], nil
	}
	list := buffer.Asides(c.bufferFolder())
	if len(list) == 0 {
		return "", fmt.Errorf("no store was set aside in %s; name a folder to look at another one", c.bufferFolder())
	}
	return list[len(list)-1], nil
}

func (c *cli) bufferFolder() string { return filepath.Join(c.state, "buffer") }

// verifyAside is `gatewayd backlog verify [FOLDER]`. The answer is no when something in it cannot be read.
func (c *cli) verifyAside() error {
	if err := c.takes(1, 2, "backlog verify [FOLDER]"); err != nil {
		return err
	}
	folder, err := c.aside()
	if err != nil {
		return err
	}
	ctx, stop := interruptible()
	defer stop()
	survey, err := buffer.Verify(ctx, folder, nil)
	if err != nil {
		return err
	}
	return c.tellSurvey(folder, survey)
}

// salvageAside is `gatewayd backlog salvage [FOLDER] [--export]`: it puts what can be read back into the store, under
// the numbers that it had, or prints it. The answer is no when something cannot be read.
func (c *cli) salvageAside() error {
	if err := c.takes(1, 2, "backlog salvage [FOLDER] [--export]"); err != nil {
		return err
	}
	folder, err := c.aside()
	if err != nil {
		return err
	}
	ctx, stop := interruptible()
	defer stop()
	if *c.switches["export"] {
		out := json.NewEncoder(c.out) // one JSON document a line
		survey, err := buffer.Verify(ctx, folder, func(epoch uint32, r field.Record) error {
			return out.Encode(waitingOf(epoch, r))
		})
		if err != nil {
			return err
		}
		told := *c
		told.out = c.err // standard output is the records'
		told.json = false
		return told.tellSurvey(folder, survey)
	}
	survey, err := c.requeue(ctx, folder)
	if err != nil {
		return err
	}
	return c.tellSurvey(folder, survey)
}

// requeue takes what can be read in a folder into the store of a daemon that does not run.
func (c *cli) requeue(ctx context.Context, folder string) (survey buffer.Survey, err error) {
	// What holds may have come from afar; who is not named loses what is owed to him.
	kept, err := candidate.Look(filepath.Join(c.state, configFolder), c.config)
	if err != nil {
		return survey, err
	}
	cfg, _, err := config.Load(kept.File(), build())
	if err != nil {
		return survey, err
	}
	before, err := beforeTrial(kept)
	if err != nil {
		return survey, err
	}
	b, names := retained(cfg, before)
	if len(names) == 0 {
		return survey, fmt.Errorf("%s names no platform, so nobody is owed what would be saved; correct it, or print the records with --export", kept.File())
	}
	store, err := buffer.Open(buffer.Options{Dir: c.bufferFolder(), Limit: b.Limit, Destinations: names,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if errors.Is(err, buffer.ErrLocked) {
		return survey, fmt.Errorf("%w; or print the records with --export", err)
	}
	if err != nil {
		return survey, err
	}
	if st := store.Stats(); st.Durable {
		survey, err = store.Salvage(ctx, folder)
	} else {
		err = errors.New(st.Trouble)
	}
	// Run only closes the store: it seals what is left and gives the numbers back.
	over, end := context.WithCancel(context.Background())
	end()
	return survey, errors.Join(err, store.Run(over))
}

// tellSurvey prints what was found. The answer is no when some of it cannot be read.
func (c *cli) tellSurvey(folder string, s buffer.Survey) error {
	no := len(s.Trouble) > 0 || s.Damaged() > 0
	if c.json {
		if err := c.printJSON(s); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(c.out, "%s: %d files, %s\n", folder, s.Files, health.Size(s.Bytes))
		t := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "CLASS\tEPOCH\tFROM\tTO\tREADABLE\tDELIVERED BEFORE\tUNREADABLE")
		for _, p := range s.Parts {
			from, to := p.From, p.To
			if p.Records == 0 {
				from, to = p.FromLost, p.ToLost
			}
			fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\n", p.Class, p.Epoch, from, to, p.Records, p.Settled, p.Damaged)
		}
		if err := t.Flush(); err != nil {
			return err
		}
		for _, line := range s.Trouble {
			fmt.Fprintln(c.out, "cannot be read: "+line)
		}
	}
	if no {
		return errNo
	}
	return nil
}
