package command_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/gatewayd/command"
)

// logged is how many bytes the audit log holds.
func (o *office) logged() int64 {
	o.t.Helper()
	names, err := filepath.Glob(filepath.Join(o.dir, "audit-*.log"))
	if err != nil || len(names) == 0 {
		o.t.Fatal(names, err)
	}
	var sum int64
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			o.t.Fatal(err)
		}
		sum += info.Size()
	}
	return sum
}

// TestLongWordsOfStrangersFillNothing holds that the size of what a stranger sends is not that of what is kept of it: a
// few such would push all else out of the audit log.
func TestLongWordsOfStrangersFillNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		defer o.close()
		long := strings.Repeat("x", 100<<10)
		for _, r := range []command.Request{
			request("verb", long),
			request(long, "write"),
			{ID: "alg", Token: []byte(command.Sign(o.keys["guest"], long, nil))},
			{ID: "no token", Token: []byte(long)},
		} {
			o.give(r)
		}
		if n := len(o.took()); n != 4 {
			t.Errorf("%d of 4 were answered", n)
		}
		if n := o.logged(); n > 8<<10 {
			t.Errorf("the audit log holds %d bytes of them", n)
		}
		// Nor is an operator's mistake too long to be answered.
		r := o.sign("control-room", request("long", long))
		o.desk.Take(t.Context(), "platform", nil, r)
		want(t, "an operator's", o.took(), "long unknown_verb")
		if n := o.logged(); n > 32<<10 {
			t.Errorf("the audit log holds %d bytes with the operator's", n)
		}
	})
}

// TestManyRepeatsFillNothing holds that whoever has seen a command cannot fill the flash by sending it again and again.
func TestManyRepeatsFillNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		defer o.close()
		r := o.sign("control-room", request("1", "write"))
		for range 200 {
			o.give(r)
		}
		if n := len(o.took()); n < 2 || n > 51 {
			t.Errorf("%d were answered", n)
		}
		if n, _ := o.log.Head(); n > 60 {
			t.Errorf("the audit log has %d entries of them", n)
		}
		time.Sleep(20 * time.Second)
		o.give(r)
		want(t, "later", o.took(), "1 repeated")
		want(t, "what was done", o.did(), "write")
	})
}

// TestUnsignedOnesAreNotRememberedForLong holds that the memory does not grow with what anybody can send.
func TestUnsignedOnesAreNotRememberedForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		defer o.close()
		signed := o.sign("control-room", request("signed", "write"))
		o.give(signed)
		for i := range 600 {
			r := request(fmt.Sprint(i), "status")
			r.Issued, r.Expires = 0, 0
			if i%2 == 1 {
				r.Gateway = "gw2" // is refused
			}
			o.give(r)
		}
		o.took()
		for _, id := range []string{"0", "1"} {
			r := request(id, "status")
			r.Issued, r.Expires = 0, 0
			o.give(r)
		}
		want(t, "the first ones, again", o.took(), "0 ok", "1 ok")
		o.give(signed)
		want(t, "a signed one, again", o.took(), "signed repeated")
	})
}

// TestWhatWasValidForTooLongStaysRefused holds that a command which was refused because it would be valid for too long
// is not run later, when less of its time is left and its id is forgotten.
func TestWhatWasValidForTooLongStaysRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		r := request("1", "write")
		r.Expires = now() + (30 * time.Hour).Milliseconds()
		r = o.sign("control-room", r)
		o.give(r)
		want(t, "at first", o.took(), "1 invalid")
		time.Sleep(8 * time.Hour)
		o.close()
		o.open()
		defer o.close()
		o.give(r)
		want(t, "8 hours and a restart later", o.took(), "1 invalid")
		want(t, "what was done", o.did())
	})
}
