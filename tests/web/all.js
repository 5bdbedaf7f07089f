// One process for all tests, because they share a daemon and a browser. A test's name is a
// sentence.
import { after, before } from "node:test";
import { closeBrowser, openBrowser } from "./browser.js";
import { startDaemon, stopDaemon } from "./daemon.js";
import { printFigures } from "./figures.js";

before(async () => {
  await startDaemon();
  await openBrowser();
});
after(async () => {
  await closeBrowser();
  await stopDaemon();
  printFigures();
});

await import("./test_page.js");
await import("./test_paths.js");
await import("./test_speed.js");
await import("./test_files.js");
await import("./test_links.js");
await import("./test_faults.js");
