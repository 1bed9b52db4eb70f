// Files of the container: its image's, and what is mounted.
export { readDir, readFile, readText } from "./src/files.js";
