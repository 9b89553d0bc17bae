package uplink

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestOverdueTellsStandingFromWaiting: a loop that waits as long as it said is well, however long that is.
func TestOverdueTellsStandingFromWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &Uplink{begun: time.Now()}
		if late := u.Overdue(); late != 0 {
			t.Errorf("before Run it is %s late", late)
		}
		u.promise(time.Hour)
		time.Sleep(time.Hour)
		if late := u.Overdue(); late != 0 {
			t.Errorf("while it waits it is %s late", late)
		}
		time.Sleep(3 * time.Minute)
		if late := u.Overdue(); late < 2*time.Minute {
			t.Errorf("3 minutes after its time it is %s late", late)
		}
		u.promise(0)
		if late := u.Overdue(); late != 0 {
			t.Errorf("after its turn it is %s late", late)
		}
	})
}
