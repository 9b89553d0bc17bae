// Command guest is the test's hand inside a machine: the machine's first process, which loads drivers, raises the
// network and hands over to systemd, and then an agent that runs commands for the test outside.
//
// It promises to need nothing of the machine but its kernel. A caller may not assume any protection: whoever reaches
// the agent is root.
package main

import (
	"fmt"
	"os"
)

func main() {
	var err error
	switch {
	case os.Getpid() == 1:
		err = boot()
	case len(os.Args) == 2 && os.Args[1] == "agent":
		err = serve()
	case len(os.Args) == 3 && os.Args[1] == "set-clock":
		err = setClock(os.Args[2])
	default:
		err = fmt.Errorf("usage: guest agent | set-clock RFC3339")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
		os.Exit(1)
	}
}
