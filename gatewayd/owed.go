package main

import (
	"reflect"
	"slices"

	"edgegateway/buffer"
	"edgegateway/gatewayd/candidate"
	"edgegateway/gatewayd/command"
	"edgegateway/gatewayd/config"
)

// beforeTrial loads the configuration that comes back when the one on trial is given back; nil when none is on trial.
func beforeTrial(kept *candidate.Store) (*config.Config, error) {
	file := kept.Before()
	if file == "" {
		return nil, nil
	}
	before, _, err := config.Load(file, build())
	return before, err
}

// retained says what the buffer keeps, and the names of the platforms that it keeps it for. Of a configuration on trial
// that is also all that the one before it (nil for none) keeps: a trial that is given back has lost nothing.
func retained(now, before *config.Config) (config.Buffer, []string) {
	b, names := now.Buffer, namesOf(now)
	if before == nil {
		return b, names
	}
	was := &before.Buffer
	b.Limit, b.Keep = max(b.Limit, was.Limit), max(b.Keep, was.Keep)
	b.KeepEvents, b.KeepReplies = max(b.KeepEvents, was.KeepEvents), max(b.KeepReplies, was.KeepReplies)
	b.Thin = was.Thin
	for _, name := range namesOf(before) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return b, names
}

// retainsMore says whether the buffer keeps more than the configuration that runs asks for, as it does for a trial. It
// lets go of that when it is opened anew.
func (d *daemon) retainsMore() bool {
	now := d.here().config
	b, names := retained(now, d.before)
	alone, own := retained(now, nil)
	return !reflect.DeepEqual(b, alone) || len(names) > len(own)
}

// judgeRetained refuses a candidate during whose trial the buffer would have to keep for too many platforms.
func judgeRetained(now, next *config.Config) error {
	if _, names := retained(next, now); len(names) > buffer.MaxDestinations {
		return command.Invalidf("until it is kept, the buffer would have to keep what is owed to %d platforms, those of both configurations, and it serves %d at most: "+
			"take platforms out in one change, and add or rename in another", len(names), buffer.MaxDestinations)
	}
	return nil
}

func namesOf(c *config.Config) []string {
	names := make([]string, len(c.Platforms))
	for i, p := range c.Platforms {
		names[i] = p.Name
	}
	return names
}
