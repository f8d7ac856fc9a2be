/** The reason of a failed system call in words, for a message. */
export function reasonOf(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code;
  switch (code) {
    case 'EACCES':
    case 'EPERM':
      return 'permission denied';
    case 'EROFS':
      return 'read-only file system';
    case 'ENOENT':
      return 'no directory can be made there';
    case 'EEXIST':
      return 'a file stands there';
    case 'ENOSPC':
      return 'no space left';
    case 'ENOTDIR':
      return 'a part of the path is a file';
    default:
      return code ?? (error instanceof Error ? error.message : String(error));
  }
}
