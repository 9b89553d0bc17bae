package command_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"edgegateway/adapters/field"
	"edgegateway/gatewayd/command"
)

func TestDoAnswersWithTheContractsCode(t *testing.T) {
	var ran []string
	fail := func(name string, err error) command.Verb {
		return command.Verb{Name: name, Run: func(context.Context, json.RawMessage) (any, error) {
			ran = append(ran, name)
			return nil, err
		}}
	}
	admin := fail("restart", nil)
	admin.Level = command.Admin
	table := command.NewTable("gw1", func() int64 { return 1763925256123 },
		fail("fine", nil),
		fail("silent", fmt.Errorf("meter-1: %w", field.ErrSilent)),
		fail("absent", field.ErrAbsent),
		fail("late", context.DeadlineExceeded),
		fail("range", fmt.Errorf("42: %w", field.ErrRange)),
		fail("input", field.ErrReadOnly),
		fail("nowhere", field.ErrUnknownTag),
		fail("broken", errors.New("smoke")),
		fail("full", &command.Error{Code: command.Busy, Text: "later"}),
		admin,
	)
	for verb, want := range map[string]command.Code{
		"fine": command.OK, "silent": command.TimedOut, "absent": command.TimedOut, "late": command.TimedOut,
		"range": command.Refused, "input": command.Refused, "nowhere": command.Invalid, "broken": command.Failed,
		"full": command.Busy, "fly": command.UnknownVerb, "restart": command.Unauthorized,
	} {
		got := table.Do(t.Context(), command.Request{V: 1, ID: "7", Verb: verb}, command.Operate)
		if got.Code != want || got.ID != "7" || got.Gateway != "gw1" || got.Verb != verb || got.T == 0 {
			t.Errorf("%s: got %+v, want code %s", verb, got, want)
		}
		if (got.Text == "") != (want == command.OK) {
			t.Errorf("%s: text %q with code %s", verb, got.Text, got.Code)
		}
	}
	if strings.Contains(strings.Join(ran, " "), "restart") {
		t.Error("a verb above the allowed level was run")
	}
}

func TestDecodeNamesWhatItDoesNotKnow(t *testing.T) {
	var args struct{ Device string }
	if err := command.Decode(json.RawMessage(`{"device":"a"}`), &args); err != nil || args.Device != "a" {
		t.Errorf("got %v, %+v", err, args)
	}
	err := command.Decode(json.RawMessage(`{"devcie":"a"}`), &args)
	if err == nil || !strings.Contains(err.Error(), "devcie") {
		t.Errorf("an unknown member passed: %v", err)
	}
	if err := command.Decode(nil, &args); err != nil {
		t.Errorf("no arguments at all: %v", err)
	}
}
