"""The gateway: one web process on the Mac that takes jobs, keeps files by content, and shows what goes on."""
