// Package update brings a new version onto the gateway, and the old one back when the new one is no good.
//
//	platform ─► Agent (in the daemon, no rights) ─► request + package ─► Updater (root, a unit of its own) ─► dpkg
//	   ▲          fetches, resumes, keeps a budget       in its folder       checks again, installs, watches, rolls back
//	   └── events ◄───────────────── state.json, which everybody may read ◄──────┘
//
// It promises that nothing is touched before all is checked: the manifest's signature, the package's digest, name,
// version and architecture, the versions it may replace, dependencies, room, and that the package of the running
// version is held to go back to; that the stage is on flash before the step that it names, so that whatever is cut
// short at any step is finished or undone at the next start, also when the new version does not start at all; that a
// new version stays only on evidence (Terms), which the updater gathers and not the new version; and that the owner's
// configuration is never replaced, whoever changed it and when.
//
// The updater believes the agent nothing: it copies what it checks into a folder of its own first. A caller may not
// assume that an update ends soon: a probation takes minutes, a bad link days.
package update
